"""Shard against an oracle that keeps the whole history and recomputes every answer from it, rule by rule."""

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from inmem.engine.commits import shard as shard_module
from inmem.engine.commits.conflicts import CasConflict, Conflict, ReadConflict, ScanConflict, WriteConflict
from inmem.engine.commits.part import Part, Slice
from inmem.engine.commits.shard import Blocked, Prepared, Refused, Shard, Verdict
from inmem.engine.commits.transaction import CommitRequest, Isolation, RequestTransaction, Transaction
from inmem.engine.errors import InvariantError
from inmem.engine.keys import Key, Tag
from inmem.engine.log.log_records import CommitRecord, DropRun, TableWrites
from inmem.engine.log.recovered_state import Recovery
from inmem.engine.tables.entry import Entry, stored_entry, version_of
from inmem.engine.tables.persistent_map import persistent
from inmem.engine.tables.snapshot import Snapshot
from inmem.engine.tables.table import Table
from tests.engine.seeded_entropy import SeededEntropy

REMEMBERED_RUNS = 2
NOW_US = 1_000
RUNS = ["a", "a", "a", "b", "b", "c", "d"]
TAGS = [Tag.KV, Tag.STATE]
KEYS = [b"", b"k", b"l", b"m"]

Tables = dict[tuple[str, int], dict[bytes, Entry]]


@pytest.fixture(autouse=True, scope="module")
def few_remembered_runs():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_module, "DROPPED_RUNS_MAX", REMEMBERED_RUNS)
        yield


class Oracle:
    """All commits so far, in order, and what docs/transactions.md says of a transaction that comes after them."""

    def __init__(self) -> None:
        self.history: list[tuple[int, Part]] = []

    def tables(self) -> Tables:
        tables: Tables = {}
        for version, part in self.history:
            tables = {table_id: table for table_id, table in tables.items() if table_id[0] not in part.dropped_runs}
            for part_slice in part.slices:
                for key, value, expiry in part_slice.writes:
                    tables.setdefault(part_slice.table_id, {})[key] = (version, value, expiry)
        return tables

    def dropped_at(self, run: str) -> int:
        last_drops = {run: version for version, part in self.history for run in part.dropped_runs}
        ordered = sorted(last_drops.values(), reverse=True)
        if run in last_drops and last_drops[run] in ordered[:REMEMBERED_RUNS]:
            return last_drops[run]
        return ordered[REMEMBERED_RUNS] if len(ordered) > REMEMBERED_RUNS else 0

    def conflicts(self, part: Part) -> Iterator[Conflict]:
        start = part.start_version
        tables = self.tables()
        for part_slice in part.slices:
            (run, tag), reads, judged = part_slice.table_id, part_slice.reads, part_slice.judged
            expected, scans = part_slice.expected, part_slice.scans
            dropped_at = self.dropped_at(run)
            entries = tables.get((run, tag), {})
            is_gone = dropped_at > start

            def current(key: bytes, entries=entries, is_gone=is_gone, dropped_at=dropped_at) -> int:
                return dropped_at if is_gone else entries.get(key, (0, None, 0))[0]

            for key, seen in reads:
                if is_gone or current(key) != version_of(seen):
                    yield ReadConflict(Key(run, tag, key), version_of(seen), current(key))
            for key in judged:
                if is_gone or current(key) > start:
                    yield WriteConflict(Key(run, tag, key), start, current(key))
            for key, version, after_drop in expected:
                if is_gone or (0 if after_drop else current(key)) != version:
                    yield CasConflict(Key(run, tag, key), version, 0 if after_drop and not is_gone else current(key))
            for first, end in scans:
                changed = [
                    (key, version)
                    for key, (version, _, _) in sorted(entries.items())
                    if version > start and first <= key and (end is None or key < end)
                ]
                if is_gone:
                    yield ScanConflict(Key(run, tag, first), end, start, Key.run(run), dropped_at)
                elif changed:
                    key, version = changed[0]
                    yield ScanConflict(Key(run, tag, first), end, start, Key(run, tag, key), version)
        for run in part.dropped_runs if part.judges_drops else ():
            versions = [
                version for (owner, _), table in tables.items() if owner == run for version, _, _ in table.values()
            ]
            changed_at = max([*versions, self.dropped_at(run)])
            if changed_at > start:
                yield WriteConflict(Key.run(run), start, changed_at)


def blocks(prepared: Part, part: Part) -> bool:
    """Whether the fate of `prepared` can change what is to be said about `part`."""
    runs = {part_slice.run for part_slice in part.slices} | set(part.dropped_runs)
    if runs & set(prepared.dropped_runs):
        return True
    for prepared_slice in prepared.slices:
        run, tag = prepared_slice.table_id
        for key, _, _ in prepared_slice.writes:
            if run in part.dropped_runs:
                return True
            for other in part.slices:
                if other.table_id != (run, tag):
                    continue
                if any(key == item[0] for items in (other.reads, other.expected, other.writes) for item in items):
                    return True
                if any(first <= key and (end is None or key < end) for first, end in other.scans):
                    return True
    return False


def part_of(request: CommitRequest) -> Part:
    return Part(
        request.transaction_id, request.start_version, request.slices, request.dropped_runs, request.judges_drops
    )


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["get", "get", "put", "put", "delete", "cas", "cas now", "scan", "last", "drop"]),
        st.sampled_from(RUNS),
        st.sampled_from(TAGS),
        st.sampled_from(KEYS),
        st.sampled_from(KEYS),
    ),
    min_size=1,
    max_size=5,
)


class ShardMachine(RuleBasedStateMachine):
    """Transactions on any published snapshot, prepared in any order, then applied or released in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.shard = Shard(persistent({}))
        self.oracle = Oracle()
        self.snapshots = [Snapshot(0, (self.shard.root,))]
        self.prepared: dict[int, Part] = {}
        self.last_id = 0

    @rule(
        age=st.integers(0, 4),
        isolation=st.sampled_from(Isolation),
        kind=st.sampled_from([Transaction, RequestTransaction]),
        operations=OPERATIONS,
    )
    def prepare(
        self,
        age: int,
        isolation: Isolation,
        kind: type[Transaction],
        operations: list[tuple[str, str, Tag, bytes, bytes]],
    ) -> None:
        snapshot = self.snapshots[max(0, len(self.snapshots) - 1 - age)]
        self.last_id += 1
        txn = kind(self.last_id, snapshot, NOW_US, SeededEntropy(), isolation)
        for operation, run, tag, key, other in operations:
            view = txn.view(run, tag)
            match operation:
                case "get":
                    view.get(key)
                case "put":
                    view.put(key, b"%d" % self.last_id)
                case "delete":
                    view.delete(key)
                case "cas":
                    view.cas(key, len(other), b"cas")
                case "cas now":
                    view.cas(key, view._committed(key)[0], b"cas")
                case "scan":
                    list(view.scan(key, other or None))
                case "last":
                    view.last()
                case "drop":
                    txn.drop_run(run)
        part = part_of(txn.seal())
        verdict = self.shard.prepare(part)
        self.judge(part, verdict)
        if isinstance(verdict, Prepared):
            self.prepared[part.transaction_id] = part

    def judge(self, part: Part, verdict: Verdict) -> None:
        blockers = {other_id for other_id, other in self.prepared.items() if blocks(other, part)}
        conflicts = list(self.oracle.conflicts(part))
        if blockers:
            assert verdict == Blocked(frozenset(blockers))
        elif conflicts:
            assert isinstance(verdict, Refused)
            assert Counter(verdict.conflicts) == Counter(conflicts)
        else:
            assert isinstance(verdict, Prepared)

    @precondition(lambda self: self.prepared)
    @rule(data=st.data(), gap=st.sampled_from([1, 1, 1, 5]))
    def apply(self, data: st.DataObject, gap: int) -> None:
        transaction_id = data.draw(st.sampled_from(sorted(self.prepared)))
        version = self.snapshots[-1].version + gap
        self.shard.apply(transaction_id, version)
        self.oracle.history.append((version, self.prepared.pop(transaction_id)))
        self.snapshots.append(Snapshot(version, (self.shard.root,)))

    @precondition(lambda self: self.prepared)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        transaction_id = data.draw(st.sampled_from(sorted(self.prepared)))
        self.shard.release(transaction_id)
        del self.prepared[transaction_id]

    @rule()
    def release_of_what_is_not_prepared_does_nothing(self) -> None:
        self.shard.release(self.last_id + 1)

    @invariant()
    def is_what_the_history_says(self) -> None:
        self.shard.check()
        assert len(self.shard._prepared) == len(self.prepared)
        tables = {table_id: dict(table.range()) for table_id, table in self.shard.root.as_dict().items()}
        assert tables == self.oracle.tables()


TestShardMachine = ShardMachine.TestCase
TestShardMachine.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


def written(transaction_id: int, start_version: int, *keys: bytes, run: str = "r", drops: tuple[str, ...] = ()) -> Part:
    writes = tuple((key, b"x", 0) for key in keys)
    slices = (Slice((run, Tag.KV), (), (), (), (), writes),) if keys else ()
    return Part(transaction_id, start_version, slices, drops, judges_drops=True)


def test_a_part_is_prepared_once_and_applied_only_when_prepared() -> None:
    shard = Shard(persistent({}))
    part = written(1, 0, b"k")
    assert shard.prepare(part) == Prepared()
    with pytest.raises(InvariantError):
        shard.prepare(part)
    shard.apply(1, 1)
    with pytest.raises(InvariantError):
        shard.apply(1, 2)


def test_a_read_counts_by_its_version_whatever_object_the_entry_is() -> None:
    # After a restart of the core every entry is a new object, and a transaction that began before may still commit.
    def judged(current: Entry) -> Verdict:
        root = persistent({("r", Tag.KV): Table.build({b"k": stored_entry(*current)})})
        shard = Shard(root, first_version=current[0])
        reads = ((b"k", stored_entry(1, b"x", 0)), (b"none", None))
        return shard.prepare(Part(2, 1, (Slice(("r", Tag.KV), reads, (), (), (), ()),), (), judges_drops=True))

    assert judged((1, b"x", 0)) == Prepared()
    assert judged((2, b"x", 0)) == Refused((ReadConflict(Key.kv("r", "k"), 1, 2),))
    assert judged((2, None, 0)) == Refused((ReadConflict(Key.kv("r", "k"), 1, 2),))


def test_what_was_released_blocks_nobody_and_never_shows() -> None:
    shard = Shard(persistent({}))
    shard.prepare(written(1, 0, b"k", drops=("other",)))
    assert shard.prepare(written(2, 0, b"k")) == Blocked(frozenset({1}))
    shard.release(1)
    assert shard.prepare(written(3, 0, b"k")) == Prepared()
    assert shard.root.as_dict() == {}


def test_blocked_outweighs_conflicts_that_are_certain_already() -> None:
    # The answer that counts is the whole truth, and that is not known yet.
    shard = Shard(persistent({}))
    shard.prepare(written(1, 0, b"k"))
    shard.apply(1, 1)
    shard.prepare(written(2, 1, b"l"))
    assert shard.prepare(written(3, 0, b"k", b"l")) == Blocked(frozenset({2}))
    shard.apply(2, 2)
    verdict = shard.prepare(written(3, 0, b"k", b"l"))
    assert verdict == Refused((WriteConflict(Key.kv("r", "k"), 0, 1), WriteConflict(Key.kv("r", "l"), 0, 2)))


def test_a_deleted_run_that_was_forgotten_still_conflicts() -> None:
    shard = Shard(persistent({}))
    for version in range(1, REMEMBERED_RUNS + 3):
        shard.prepare(written(version, version - 1, drops=(f"run {version}",)))
        shard.apply(version, version)
    # Versions 1 and 2 are forgotten: whoever began before 2 conflicts, in whatever run.
    assert isinstance(shard.prepare(written(10, 0, b"k", run="run 1")), Refused)
    assert isinstance(shard.prepare(written(11, 1, b"k", run="never dropped")), Refused)
    assert shard.prepare(written(12, 2, b"k", run="run 2")) == Prepared()


def test_a_run_deleted_again_is_remembered_for_its_latest_deletion() -> None:
    shard = Shard(persistent({}))
    for version, run in enumerate(["a", "b", "a", "c"], 1):
        shard.prepare(written(version, version - 1, drops=(run,)))
        shard.apply(version, version)
    # Of three runs two are remembered: "b" went first of all, although "a" was deleted before it.
    assert shard.prepare(written(10, 2, b"k", run="other")) == Prepared()
    assert shard.prepare(written(11, 2, b"k", run="a")) == Refused((WriteConflict(Key.kv("a", "k"), 2, 3),))


def test_a_prepared_write_blocks_expectations_and_ranges_that_hold_it_and_no_others() -> None:
    shard = Shard(persistent({}))
    shard.prepare(written(1, 0, b"k"))
    blocked = Blocked(frozenset({1}))

    def verdict(transaction_id: int, expected=(), scans=()) -> Verdict:
        part_slice = Slice(("r", Tag.KV), (), (), expected, scans, ())
        return shard.prepare(Part(transaction_id, 0, (part_slice,), (), judges_drops=True))

    assert verdict(2, expected=((b"k", 0, False),)) == blocked
    assert verdict(3, expected=((b"l", 0, False),)) == Prepared()
    assert verdict(4, scans=((b"k", b"l"),)) == verdict(5, scans=((b"", None),)) == blocked
    assert verdict(6, scans=((b"a", b"k"),)) == verdict(7, scans=((b"ka", None),)) == Prepared()


def test_a_shard_rebuilt_from_the_log_refuses_those_who_began_before_it() -> None:
    # It has not seen which runs were deleted since they began, and a deleted run leaves no tombstones.
    shard = Shard(persistent({}), forgotten_version=5)
    assert shard.prepare(written(1, 4, b"k")) == Refused((WriteConflict(Key.kv("r", "k"), 4, 5),))
    assert shard.prepare(written(2, 4, drops=("r",))) == Refused((WriteConflict(Key.run("r"), 4, 5),))
    assert shard.prepare(written(3, 5, b"k")) == Prepared()


def test_what_spans_runs_is_not_taken_for_a_deleted_run() -> None:
    shard = Shard(persistent({}), forgotten_version=5)
    write, scan = ((b"\x00k", b"v", 0),), ((b"", None),)
    part_slice = Slice(("", Tag.RUN_ACTIVE), (), (), (), scan, write)
    assert shard.prepare(Part(1, 4, (part_slice,), (), judges_drops=True)) == Prepared()


def test_a_cas_made_before_its_run_is_dropped_in_the_same_transaction_still_has_to_hold() -> None:
    shard = Shard(persistent({}))
    shard.prepare(written(1, 0, b"k"))
    shard.apply(1, 1)
    expected = ((b"k", 9, False), (b"k", 1, True), (b"l", 0, True))
    part = Part(2, 1, (Slice(("r", Tag.KV), (), (), expected, (), ()),), ("r",), judges_drops=True)
    assert shard.prepare(part) == Refused((CasConflict(Key.kv("r", "k"), 9, 1), CasConflict(Key.kv("r", "k"), 1, 0)))


def test_check_notices_a_reservation_that_belongs_to_nobody() -> None:
    shard = Shard(persistent({}))
    shard.prepare(written(1, 0, b"k"))
    shard.prepare(written(2, 0, b"l"))
    shard._prepared_keys.clear()
    with pytest.raises(InvariantError):
        shard.check()


@pytest.mark.parametrize(
    ("conflict", "text"),
    [
        (ReadConflict(Key.kv("r", "k"), 0, 3), "was read at version 0 and is at 3 now"),
        (WriteConflict(Key.kv("r", "k"), 2, 3), "from a snapshot at version 2 and by another commit at 3"),
        (CasConflict(Key.kv("r", "k"), 1, 3), "was expected at version 1 and is at 3"),
        (ScanConflict(Key.kv("r", ""), None, 2, Key.kv("r", "k"), 3), "at version 2 has kv('r', 'k') changed at 3"),
    ],
)
def test_a_conflict_tells_its_story(conflict: Conflict, text: str) -> None:
    assert "kv('r', 'k')" in str(conflict)
    assert text in str(conflict)


def test_a_dropped_run_is_gone_with_the_tables_of_newer_versions_too() -> None:
    """Recovery drops whatever the log has of the run: the running store must not keep more."""
    write = ((b"k", b"v", 0),)
    recovery = Recovery()
    writes = tuple(TableWrites(run, tag, write) for run in ("gone", "kept") for tag in (Tag.KV, 0x7F))
    recovery.apply(1, CommitRecord(1, 0, writes), salt=7)
    shard = Shard(recovery.result(1).roots[0])
    assert isinstance(shard.prepare(Part(2, 1, (), ("gone",), judges_drops=True)), Prepared)
    shard.apply(2, 2)
    recovery.apply(2, CommitRecord(2, 0, (DropRun("gone"),)), salt=7)
    assert set(shard.root.as_dict()) == set(recovery.result(1).roots[0].as_dict()) == {("kept", Tag.KV), ("kept", 0x7F)}
