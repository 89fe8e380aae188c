"""Random histories of all five primitives: after every reopening the store holds what a few dicts say.

A reopening is a clean close or a crash: the folder of the live store is copied and the copy is opened. Either may
come behind a checkpoint, and with another number of shards.
"""

import copy
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import inmem
from inmem import ConflictError, RunStatus, Thought, ToolCall
from tests.integration.five import Content, Registered, Step, everything, expect, expect_everywhere

RUNS = ["a", "a\x00", "\U0001f600"]
NAMES = ["", "k", "k\x00", "__idx__"]
ALLOWED = {
    "Active": {"Completed", "Failed", "Cancelled", "Paused", "Archived"},
    "Paused": {"Active", "Cancelled", "Archived"},
    "Completed": {"Archived"},
    "Failed": {"Archived"},
    "Cancelled": {"Archived"},
    "Archived": set(),
}

runs = st.sampled_from(RUNS)
names = st.sampled_from(NAMES)
values = st.sampled_from([None, True, -(2**63), 0.5, "text", b"\x00\xff", [1, [2]], {"": {"deep": []}}])
operations = st.one_of(
    st.tuples(st.just("put"), runs, names, values, st.none()),
    st.tuples(st.just("put"), runs, names, values, st.just(3600.0)),
    st.tuples(st.just("delete"), runs, names),
    st.tuples(st.just("append"), runs, st.lists(st.tuples(st.sampled_from(["a", "a\x00"]), values), max_size=3)),
    st.tuples(st.just("set"), runs, names, values),
    st.tuples(st.just("transition"), runs, names),
    st.tuples(st.just("delete_cell"), runs, names),
    st.tuples(st.just("record"), runs, names, st.lists(names, max_size=2, unique=True), values, st.integers(-2, 9)),
    st.tuples(st.just("create"), runs, st.none() | runs, st.lists(names, max_size=2, unique=True)),
    st.tuples(st.just("move"), runs, st.sampled_from(RunStatus)),
    st.tuples(st.just("move"), runs, st.sampled_from([RunStatus.PAUSED, RunStatus.ACTIVE, RunStatus.FAILED])),
    st.tuples(st.just("describe"), runs, names, values),
    st.tuples(st.just("delete_run"), runs),
)


@dataclass
class Run:
    """A run's content, and what of it outlives a cell: versions go on where the deleted cell's ended."""

    content: Content = field(default_factory=Content)
    last_versions: dict[str, int] = field(default_factory=dict)


def do(txn, model, operation):
    """Do one operation in the transaction and in the model."""
    name, run_id, *arguments = operation
    on = txn.on(run_id)
    run = model[run_id]
    content = run.content
    match name, arguments:
        case "put", (key, value, ttl):
            on.kv.put(key, value, ttl)
            content.kv[key] = value
        case "delete", (key,):
            assert on.kv.delete(key) is (key in content.kv)
            content.kv.pop(key, None)
        case "append", (events,):
            on.events.append_many(events)
            content.events += events
        case "set", (cell, value):
            version = on.cells.set(cell, value)
            run.last_versions[cell] = run.last_versions.get(cell, 0) + 1
            content.cells[cell] = (value, run.last_versions[cell])
            assert version == run.last_versions[cell]
        case "transition", (cell,):
            fresh = cell not in content.cells
            on.cells.transition_or_init(cell, ["initial"], lambda state: ([state.version], None))
            version = run.last_versions.get(cell, 0) + 1 + fresh
            run.last_versions[cell] = version
            content.cells[cell] = ([version - 1], version)
        case "delete_cell", (cell,):
            assert on.cells.delete(cell) is (content.cells.pop(cell, None) is not None)
        case "record", (text, tags, value, parent_at):
            ids = list(content.traces)
            parent = ids[parent_at % len(ids)] if ids and parent_at >= 0 else None
            kind = Thought(text) if parent is None else ToolCall(text, {"arguments": value})
            trace_id = f"{len(ids)}{text}"
            on.traces.record_with_options(kind, id=trace_id, parent_id=parent, tags=tags, metadata={"value": value})
            content.traces[trace_id] = Step(kind, parent, tuple(tags), {"value": value})
        case "create", (parent, tags):
            if content.runs is None and (parent is None or model[parent].content.runs is not None):
                on.runs.create_run(run_id, parent=parent, tags=tags)
                content.runs = Registered(parent=parent, tags=tuple(tags))
        case "move", (status,):
            known = content.runs
            if known is not None and status in ALLOWED[known.status]:
                if status is RunStatus.FAILED:
                    on.runs.fail_run(run_id, "because")
                    known.error = "because"
                else:
                    on.runs.update_status(run_id, status)
                known.status = status
        case "describe", (key, value):
            if content.runs is not None:
                on.runs.update_metadata(run_id, {key: value})
                on.runs.add_tags(run_id, [key])
                content.runs.metadata[key] = value
                content.runs.tags = tuple(dict.fromkeys((*content.runs.tags, key)))
        case "delete_run", ():
            if content.runs is not None:
                on.runs.delete_run(run_id)
                model[run_id] = Run()
        case _:
            raise AssertionError(operation)


class RecoveryMachine(RuleBasedStateMachine):
    """A live store beside its model."""

    @initialize(shards=st.integers(1, 3), durability=st.sampled_from(["always", "interval", "never"]))
    def open_first(self, shards, durability):
        self.parent = Path(tempfile.mkdtemp(prefix="inmem-recovery-"))
        self.folder = self.parent / "0"
        self.durability = durability
        self.model = {run: Run() for run in RUNS}
        self.version = 0
        self.db = inmem.open(self.folder, shards=shards, durability=durability)

    def teardown(self):
        if hasattr(self, "db"):
            self.db.close()
            shutil.rmtree(self.parent)

    @rule(work=st.lists(operations, min_size=1, max_size=8), isolation=st.sampled_from(["snapshot", "serializable"]))
    def commit(self, work, isolation):
        model = copy.deepcopy(self.model)
        with self.db.begin("a", isolation=isolation) as txn:
            for operation in work:
                do(txn, model, operation)
            for run in RUNS:
                expect(txn.on(run), run, model[run].content)
            version = txn.commit()
        assert version in (self.version, self.version + 1)
        self.version = version
        self.model = model

    @rule(work=st.lists(operations, min_size=1, max_size=4))
    def abort(self, work):
        txn = self.db.begin("a")
        model = copy.deepcopy(self.model)
        for operation in work:
            do(txn, model, operation)
        txn.abort()

    @rule(work=st.lists(operations, min_size=1, max_size=4), value=values)
    def conflict(self, work, value):
        model = copy.deepcopy(self.model)
        with self.db.begin("a") as txn:
            for operation in work:
                do(txn, model, operation)
            txn.kv.put("contested", 1)
            self.version = self.db.put("a", "contested", value)
            self.model["a"].content.kv["contested"] = value
            try:
                txn.commit()
            except ConflictError:
                return
        raise AssertionError("both committed")

    @rule(run=runs, operation=st.sampled_from(["put", "append", "set", "record"]), value=values)
    def through_an_actor(self, run, operation, value):
        content = self.model[run].content
        match operation:
            case "put":
                self.db.kv.put(run, "k", value)
                content.kv["k"] = value
            case "append":
                self.db.events.append(run, "a", value)
                content.events.append(("a", value))
            case "set":
                version = self.db.cells.set(run, "k", value)
                self.model[run].last_versions["k"] = version
                content.cells["k"] = (value, version)
            case "record":
                trace = self.db.traces.record(run, Thought("said"))
                content.traces[trace.id] = Step(Thought("said"))
        self.version += 1

    @rule()
    def checkpoint(self):
        assert self.db.checkpoint() == self.version

    @rule(crashes=st.booleans(), checkpoints=st.booleans(), shards=st.integers(1, 3))
    def reopen(self, crashes, checkpoints, shards):
        if checkpoints:
            self.db.checkpoint()
        before = everything(self.db)
        events = {run: list(self.db.events.iter(run)) for run in RUNS}
        if crashes:
            # Everything has been written, if not synced: what the death of the process leaves behind.
            folder = self.parent / str(int(self.folder.name) + 1)
            shutil.copytree(self.folder, folder)
            self.db.close()
            self.folder = folder
        else:
            self.db.close()
        self.db = inmem.open(self.folder, shards=shards, durability=self.durability)
        assert everything(self.db) == before
        assert {run: list(self.db.events.iter(run)) for run in RUNS} == events
        self.check()
        assert self.db.verify().is_valid

    def check(self):
        assert self.db.version == self.version
        for run in RUNS:
            expect_everywhere(self.db, run, self.model[run].content)
        with self.db.begin("a") as txn:
            txn.runs.check()
        self.db._client.snapshot().check()

    @invariant()
    def runs_are_as_the_model_says(self):
        if hasattr(self, "db"):
            registered = [run for run in RUNS if self.model[run].content.runs is not None]
            assert sorted(self.db.runs.list_runs(include_archived=True)) == sorted(registered)
            assert self.db.version == self.version


# Hundreds of real files are written and synced, on a disk that others may be using.
TestRecovery = pytest.mark.timeout(600)(pytest.mark.unmeasured(RecoveryMachine.TestCase))


def test_versions_ids_and_times_go_on_after_every_reopening(tmp_path):
    """Of what is in a commit, nothing is given out again."""
    versions, ids, times = [], [], []
    for opening in range(5):
        with inmem.open(tmp_path, shards=1 + opening % 3) as db:
            for _ in range(3):
                with db.begin("run") as txn:
                    ids.append(txn.id)
                    times.append(txn.events.append("again", opening).timestamp)
                    versions.append(txn.commit())
            with db.begin("run") as txn:
                assert txn.id > ids[-1]
                txn.abort()
            if opening == 3:
                db.checkpoint()
    assert versions == list(range(1, 16))
    assert ids == sorted(set(ids))
    assert times == sorted(times)


def test_recovering_twice_or_elsewhere_gives_the_same(tmp_path):
    folder = tmp_path / "db"
    with inmem.open(folder) as db:
        for at in range(20):
            with db.begin(f"run {at % 4}") as txn:
                txn.kv.put(f"{at % 3}", at)
                txn.kv.delete(f"{(at + 1) % 3}")
                txn.events.append("at", at)
                txn.cells.set("at", at)
                txn.traces.record(Thought(f"{at}"))
        state = everything(db)
        shutil.copytree(folder, tmp_path / "crashed")
    for path in (folder, folder, tmp_path / "crashed"):
        with inmem.open(path, read_only=True) as db:
            assert (everything(db), db.version) == (state, 20)
        with inmem.open(path) as db:
            assert (everything(db), db.version) == (state, 20)


def test_deadlines_survive_reopening(tmp_path):
    with inmem.open(tmp_path) as db:
        db.put("run", "lasting", 1)
        db.put("run", "passing", 2, ttl=3600)
        before = [db.get_versioned("run", key) for key in ("lasting", "passing")]
        db.checkpoint()
        db.put("run", "later", 3, ttl=7200.5)
        before.append(db.get_versioned("run", "later"))
    with inmem.open(tmp_path) as db:
        assert [db.get_versioned("run", key) for key in ("lasting", "passing", "later")] == before
    assert [versioned.expires_at is None for versioned in before] == [True, False, False]
