import uuid
from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

from inmem.engine.codec import encode_value
from inmem.engine.commits.conflicts import CasConflict, ReadConflict
from inmem.engine.errors import (
    InvalidKeyError,
    InvalidStatusTransitionError,
    InvalidValueError,
    InvariantError,
    RunExistsError,
    RunNotFoundError,
    UsageError,
)
from inmem.engine.keys import Key, Tag
from inmem.primitives.index_key import PRESENT
from inmem.primitives.run_status import FINISHED, TRANSITIONS, RunStatus
from inmem.primitives.runs import RunMetadata, RunOperations, RunStats
from inmem.primitives.trace_kinds import Thought
from tests.primitives.machine import HOSTILE_NAMES, TransactionMachine, limits, name_sets, names, picks, values
from tests.primitives.store import Store

statuses = st.sampled_from(RunStatus)


class RunMachine(TransactionMachine):
    """The model maps ids to metadata, in the order of creation. Runs, parents and tags have the same hostile names."""

    clock_steps_back = True

    def runs(self) -> RunOperations:
        return RunOperations(self.txn)

    def change(self, run, returned, **changes):
        old = self.model[run]
        new = replace(old, **changes)
        # As bytes: 1 and True are equal, and not the same value.
        if (old.status, old.tags, encode_value(old.metadata)) != (new.status, new.tags, encode_value(new.metadata)):
            new = replace(new, updated_at=max(self.txn.now_us, old.updated_at))
        self.model[run] = new
        assert returned == new

    @rule(
        run=st.none() | names,
        parent_at=st.none() | picks,
        tags=name_sets,
        metadata=st.none() | st.dictionaries(names, values, max_size=2),
    )
    def create(self, run, parent_at, tags, metadata):
        parent = None if parent_at is None else self.pick(parent_at)

        def create():
            return self.runs().create_run(run, parent=parent, tags=tags, metadata=metadata)

        if parent is not None and parent not in self.model:
            with pytest.raises(RunNotFoundError):
                create()
        elif run in self.model:
            with pytest.raises(RunExistsError):
                create()
        else:
            now_us = self.txn.now_us
            created = create()
            assert run in {None, created.run_id}
            tags = tuple(dict.fromkeys(tags))
            assert created == RunMetadata(
                created.run_id, parent, RunStatus.ACTIVE, now_us, now_us, None, tags, metadata or {}, None
            )
            self.model[created.run_id] = created

    @rule(at=picks, status=statuses)
    def move(self, at, status):
        run = self.pick(at)
        if run not in self.model:
            with pytest.raises(RunNotFoundError):
                self.runs().update_status(run, status)
        elif status not in TRANSITIONS[self.model[run].status]:
            with pytest.raises(InvalidStatusTransitionError):
                self.runs().update_status(run, str(status))
        else:
            finished = {}
            if status in FINISHED:
                finished["completed_at"] = max(self.txn.now_us, self.model[run].updated_at)
            self.change(run, self.runs().update_status(run, status), status=status, **finished)

    @rule(at=picks, tags=name_sets)
    def tag(self, at, tags):
        run = self.pick(at)
        if run not in self.model:
            with pytest.raises(RunNotFoundError):
                self.runs().add_tags(run, tags)
        else:
            new = tuple(dict.fromkeys((*self.model[run].tags, *tags)))
            self.change(run, self.runs().add_tags(run, tags), tags=new)

    @rule(at=picks, tags=name_sets)
    def untag(self, at, tags):
        run = self.pick(at)
        if run not in self.model:
            with pytest.raises(RunNotFoundError):
                self.runs().remove_tags(run, tags)
        else:
            new = tuple(tag for tag in self.model[run].tags if tag not in tags)
            self.change(run, self.runs().remove_tags(run, tags), tags=new)

    @rule(at=picks, metadata=st.dictionaries(names, values, max_size=2))
    def describe(self, at, metadata):
        run = self.pick(at)
        if run not in self.model:
            with pytest.raises(RunNotFoundError):
                self.runs().update_metadata(run, metadata)
        else:
            new = {**self.model[run].metadata, **metadata}
            self.change(run, self.runs().update_metadata(run, metadata), metadata=new)

    @rule(at=picks)
    def delete(self, at):
        run = self.pick(at)
        if run not in self.model:
            with pytest.raises(RunNotFoundError):
                self.runs().delete_run(run)
        else:
            self.runs().delete_run(run)
            del self.model[run]

    @rule(
        status=st.none() | statuses,
        tags=st.lists(names, max_size=2),
        parent_at=st.none() | picks,
        after=st.none() | st.integers(-20, 20),
        before=st.none() | st.integers(-20, 20),
        include_archived=st.booleans(),
        limit=limits,
        newest_first=st.booleans(),
    )
    def query(self, status, tags, parent_at, after, before, include_archived, limit, *, newest_first):
        parent = None if parent_at is None else self.pick(parent_at)
        created_after = None if after is None else self.txn.now_us + after
        created_before = None if before is None else self.txn.now_us + before
        expected = [
            run
            for run in self.in_order()
            if (status is None or run.status is status)
            and (include_archived or status is not None or run.status is not RunStatus.ARCHIVED)
            and set(tags) <= set(run.tags)
            and (parent is None or run.parent_run == parent)
            and (created_after is None or run.created_at >= created_after)
            and (created_before is None or run.created_at < created_before)
        ]

        def page(limit, cursor):
            return self.runs().query_runs(
                status=status,
                tags=tags,
                created_after=created_after,
                created_before=created_before,
                parent=parent,
                include_archived=include_archived,
                limit=limit,
                after=cursor,
                newest_first=newest_first,
            )

        found = page(limit, None)
        if limit is None:
            assert sorted(found, key=lambda run: run.run_id) == sorted(expected, key=lambda run: run.run_id)
            times = [run.created_at for run in found]
            assert times == sorted(times, reverse=newest_first)
            # However it is cut into pages, it is the same list.
            for at, run in enumerate(found):
                assert page(None, run.run_id) == found[at + 1 :]
                assert page(1, run.run_id) == found[at + 1 : at + 2]
        else:
            assert len(found) == min(limit, len(expected))
            assert all(run in expected for run in found)

    def in_order(self):
        return sorted(self.model.values(), key=lambda run: run.created_at)

    def check(self):
        runs = self.runs()
        for run in HOSTILE_NAMES:
            assert runs.get_run(run) == self.model.get(run)
        count = {status: sum(run.status is status for run in self.model.values()) for status in RunStatus}
        assert runs.get_stats() == RunStats(len(self.model), *count.values())
        assert set(runs.list_runs(include_archived=True)) == set(self.model)
        assert {run for run, tag, _ in self.store.snapshot.tables() if tag == Tag.RUN} == set(self.model)
        runs.check()


TestRunIndex = pytest.mark.unmeasured(RunMachine.TestCase)


@pytest.fixture
def store():
    return Store()


def create(store, run, **options):
    return store.do(lambda txn: store.runs(txn).create_run(run, **options))


def test_the_named_transitions(store):
    for run in ("completed", "failed", "cancelled", "paused", "resumed", "archived"):
        create(store, run)
    store.now_us += 5
    with store.transaction() as txn:
        runs = store.runs(txn)
        assert runs.complete_run("completed").completed_at == store.now_us
        failed = runs.fail_run("failed", "no disk")
        assert (failed.status, failed.error, failed.completed_at) == (RunStatus.FAILED, "no disk", store.now_us)
        assert runs.cancel_run("cancelled").status is RunStatus.CANCELLED
        assert runs.pause_run("paused").completed_at is None
        runs.pause_run("resumed")
        assert runs.resume_run("resumed").status is RunStatus.ACTIVE
        assert runs.archive_run("archived").completed_at is None
    assert store.runs().get_stats() == RunStats(6, 1, 1, 1, 1, 1, 1)
    assert store.runs().list_runs() == ["completed", "failed", "cancelled", "paused", "resumed"]
    store.now_us += 5
    archived = store.do(lambda txn: store.runs(txn).archive_run("failed"))
    assert (archived.error, archived.completed_at) == ("no disk", store.now_us - 5)


def test_archived_runs_stay_readable_and_leave_default_queries(store):
    create(store, "parent")
    create(store, "run", parent="parent", tags=["t"])
    store.do(lambda txn: store.kv(txn=txn).put("k", 1))
    store.do(lambda txn: store.runs(txn).archive_run("run"))
    runs = store.runs()
    run = runs.get_run("run")
    assert store.kv().get("k") == 1
    assert runs.query_runs() == [runs.get_run("parent")]
    assert runs.query_runs(tags=["t"]) == runs.query_runs(parent="parent") == runs.get_child_runs("parent") == []
    assert runs.query_runs(tags=["t"], include_archived=True) == [run]
    assert runs.query_runs(status="Archived") == runs.get_child_runs("parent", include_archived=True) == [run]
    assert runs.list_runs() == ["parent"]
    assert runs.list_runs(include_archived=True) == ["parent", "run"]


def test_runs_of_one_transaction_are_in_the_order_of_creation(store):
    created = [f"run {number}" for number in reversed(range(20))]
    with store.transaction() as txn:
        for run in created:
            store.runs(txn).create_run(run)
            store.runs(txn).complete_run(run)
    assert store.runs().list_runs() == created


def test_a_uuid_is_its_string(store):
    run = uuid.UUID(int=7)
    create(store, run, parent=None)
    create(store, "child", parent=run)
    assert store.runs().get_run(run) == store.runs().get_run(str(run))
    assert store.runs().get_child_runs(run)[0].parent_run == str(run)


def test_deleting_a_run_removes_everything_of_it_and_of_nobody_else(store):
    for run in ("run", "other"):
        with store.transaction() as txn:
            store.runs(txn).create_run(run, tags=["t"])
            store.kv(run, txn).put("k", 1)
            store.events(run, txn).append("x", 1)
            store.cells(run, txn).init("cell", 1)
            store.traces(run, txn).record_with_options(Thought("x"), id="id")
    create(store, "child", parent="run")
    other = [(tag, table.as_dict()) for run, tag, table in store.snapshot.tables() if run == "other"]
    store.do(lambda txn: store.runs(txn).delete_run("run"))
    assert "run" not in {run for run, _, _ in store.snapshot.tables()}
    assert [(tag, table.as_dict()) for run, tag, table in store.snapshot.tables() if run == "other"] == other
    assert store.runs().get_run("run") is None
    assert [run.run_id for run in store.runs().query_runs(tags=["t"])] == ["other"]
    assert [run.run_id for run in store.runs().get_child_runs("run")] == ["child"]
    assert store.runs().get_stats().total_runs == 2
    store.runs().check()


def test_a_deleted_run_can_be_created_again_at_once(store):
    create(store, "run", tags=["old"])
    store.do(lambda txn: store.kv(txn=txn).put("k", 1))
    with store.transaction() as txn:
        runs = store.runs(txn)
        assert store.kv(txn=txn).get("k") == 1
        runs.delete_run("run")
        assert runs.get_run("run") is None
        runs.create_run("run", tags=["new"])
        assert store.kv(txn=txn).get("k") is None
        store.kv(txn=txn).cas("k", 0, 2)
    assert store.runs().get_run("run").tags == ("new",)
    assert store.kv().get("k") == 2
    store.runs().check()


def test_a_cas_after_the_deletion_expects_what_the_deletion_left(store):
    create(store, "run")
    store.do(lambda txn: store.kv(txn=txn).put("k", 1))
    txn = store.begin()
    store.runs(txn).delete_run("run")
    store.kv(txn=txn).cas("k", 2, "two")
    assert store.conflicts(txn) == (CasConflict(Key.kv("run", "k"), 2, 0),)


def test_a_deletion_taken_back_leaves_the_run_as_it_was(store):
    create(store, "run", tags=["t"])
    store.do(lambda txn: store.kv(txn=txn).put("k", 1))
    txn = store.begin()
    mark = txn.mark()
    store.runs(txn).delete_run("run")
    txn.rollback_to(mark)
    assert not txn.has_writes
    assert store.kv(txn=txn).get("k") == 1
    store.runs(txn).complete_run("run")
    store.commit(txn)
    store.runs().check()


@pytest.mark.parametrize(
    "touch",
    [
        lambda store, txn: store.kv(txn=txn).put("k", 2),
        lambda store, txn: store.kv(txn=txn).get("k"),
        lambda store, txn: store.kv(txn=txn).get("never"),
        lambda store, txn: store.events(txn=txn).append("x", 1),
        lambda store, txn: store.cells(txn=txn).set("c", 1),
        lambda store, txn: store.traces(txn=txn).record(Thought("x")),
        lambda store, txn: store.runs(txn).complete_run("run"),
        lambda store, txn: store.runs(txn).create_run("child", parent="run"),
    ],
)
def test_whoever_touched_a_run_that_was_deleted_meanwhile_conflicts(store, touch):
    create(store, "run")
    store.do(lambda txn: store.kv(txn=txn).put("k", 1))
    txn = store.begin()
    touch(store, txn)
    store.kv("elsewhere", txn).put("k", 1)
    store.do(lambda other: store.runs(other).delete_run("run"))
    assert store.conflicts(txn) != ()
    assert "run" not in {run for run, _, _ in store.snapshot.tables()}
    store.runs().check()


def test_a_deletion_conflicts_with_whatever_was_written_to_the_run_meanwhile(store):
    create(store, "run")
    txn = store.begin()
    store.runs(txn).delete_run("run")
    store.do(lambda other: store.traces(txn=other).record(Thought("x")))
    assert store.conflicts(txn) != ()


def test_status_changes_of_different_runs_do_not_conflict(store):
    create(store, "a", tags=["t"])
    create(store, "b", tags=["t"])
    first, second = store.begin(), store.begin()
    store.runs(first).complete_run("a")
    store.runs(second).complete_run("b")
    store.runs(second).create_run("c", tags=["t"])
    assert store.conflicts(first) == store.conflicts(second) == ()
    assert store.runs().get_stats() == RunStats(3, 1, 2, 0, 0, 0, 0)


def test_of_two_that_create_a_run_one_loses(store):
    first, second = store.begin(), store.begin()
    for txn in (first, second):
        store.runs(txn).create_run("run")
    store.commit(first)
    assert ReadConflict(Key.run("run"), 0, 1) in store.conflicts(second)


def test_an_id_is_taken_until_its_run_is_deleted(store):
    create(store, "run")
    store.do(lambda txn: store.runs(txn).archive_run("run"))
    with pytest.raises(RunExistsError) as caught:
        store.runs().create_run("run")
    assert (caught.value.name, caught.value.run_id) == ("run", "run")
    store.do(lambda txn: store.runs(txn).delete_run("run"))
    assert create(store, "run").status is RunStatus.ACTIVE


def test_what_is_refused_leaves_nothing_behind(store):
    create(store, "run")
    txn = store.begin()
    runs = store.runs(txn)
    with pytest.raises(InvalidKeyError, match=r"^run id: "):
        runs.create_run("")
    with pytest.raises(InvalidKeyError, match=r"^run id: "):
        runs.get_run(7)
    with pytest.raises(InvalidKeyError, match=r"^tags: must be several str"):
        runs.create_run("new", tags="abc")
    with pytest.raises(InvalidKeyError, match=r"^tag: "):
        runs.add_tags("run", [1])
    with pytest.raises(InvalidValueError, match=r"^metadata: must be a dict, not str"):
        runs.update_metadata("run", "x")
    with pytest.raises(InvalidValueError, match=r"^metadata: must be a dict, not None"):
        runs.update_metadata("run", None)
    with pytest.raises(InvalidValueError, match=r"^metadata: must be a dict, not tuple"):
        runs.create_run("new", metadata=())
    with pytest.raises(InvalidValueError, match=r"^error: must be a str, not ValueError"):
        runs.fail_run("run", ValueError("x"))
    with pytest.raises(InvalidValueError, match=r"^error: str has a lone surrogate"):
        runs.fail_run("run", "\ud800")
    with pytest.raises(UsageError, match=r"^created_after: must be an int of microseconds"):
        runs.query_runs(created_after=1.5)
    with pytest.raises(UsageError, match=r"^created_before: must be an int of microseconds"):
        runs.query_runs(created_before="today")
    for missing in (runs.complete_run, runs.delete_run, runs.archive_run, runs.resume_run):
        with pytest.raises(RunNotFoundError) as caught:
            missing("absent")
        assert caught.value.name == "absent"
        assert str(caught.value) == "there is no run 'absent'"
    assert not txn.has_writes


def test_updating_metadata_and_tags_keeps_what_is_not_named(store):
    create(store, "run", tags=["a"], metadata={"kept": 1, "changed": 1})
    store.do(lambda txn: store.runs(txn).archive_run("run"))
    store.now_us += 1
    store.do(lambda txn: store.runs(txn).update_metadata("run", {"changed": None, "new": 2}))
    run = store.do(lambda txn: store.runs(txn).add_tags("run", ["b", "a"]))
    assert run.metadata == {"kept": 1, "changed": None, "new": 2}
    assert run.tags == ("a", "b")
    assert run.updated_at == store.now_us
    assert store.runs().query_runs(tags=["b"], include_archived=True) == [run]


@pytest.mark.parametrize(
    "change",
    [
        lambda runs: runs.add_tags("run", ["b", "a"]),
        lambda runs: runs.remove_tags("run", ["c"]),
        lambda runs: runs.update_metadata("run", {"k": 1}),
    ],
    ids=["add_tags", "remove_tags", "update_metadata"],
)
def test_what_changes_nothing_about_a_run_writes_nothing(store, change):
    created = create(store, "run", tags=["a", "b"], metadata={"k": 1, "other": 2})
    store.now_us += 1
    txn = store.begin()
    assert change(store.runs(txn)) == created
    assert not txn.has_writes


def test_removing_tags_leaves_the_others_where_they_are_and_takes_the_run_out_of_the_index(store):
    create(store, "run", tags=["a", "b", "c"])
    store.now_us += 1
    run = store.do(lambda txn: store.runs(txn).remove_tags("run", ["b", "unknown"]))
    assert (run.tags, run.updated_at) == (("a", "c"), store.now_us)
    assert store.runs().query_runs(tags=["b"]) == []
    assert store.runs().query_runs(tags=["c", "a"]) == [run]
    store.runs().check()
    with pytest.raises(InvalidKeyError, match=r"^tags: "):
        store.runs().remove_tags("run", "a")


def test_updated_at_never_goes_back(store):
    created = create(store, "run").created_at
    store.now_us -= 10
    run = store.do(lambda txn: store.runs(txn).complete_run("run"))
    assert run.updated_at == run.completed_at == created


def test_metadata_is_a_fresh_copy(store):
    metadata = {"items": [1]}
    txn = store.begin()
    created = store.runs(txn).create_run("run", metadata=metadata)
    for container in (metadata, created.metadata, store.runs(txn).get_run("run").metadata):
        container["items"].append(2)
    assert store.runs(txn).get_run("run").metadata == {"items": [1]}


@pytest.mark.parametrize("tag", [Tag.RUN_INDEX, Tag.RUN_FAILED])
def test_check_finds_an_index_that_does_not_agree(store, tag):
    create(store, "run", tags=["t"])
    create(store, "failed")
    store.do(lambda txn: store.runs(txn).fail_run("failed", "x"))
    store.tamper("", tag, b"\x01t\x00\x00" + bytes(20) + b"run", PRESENT)
    with pytest.raises((InvariantError, RunNotFoundError)):
        store.runs().check()
