"""Transaction: its status table, its end, and what it seals. Reads and writes are in test_table_view.py."""

import gc
from types import FunctionType, ModuleType

import pytest
from msgspec import Struct
from msgspec.structs import astuple, replace

from inmem.engine.commits import transaction
from inmem.engine.commits.part import Slice
from inmem.engine.commits.transaction import TRANSITIONS, CommitRequest, Isolation, Transaction, TransactionStatus
from inmem.engine.errors import InvariantError, TransactionClosedError, UsageError
from inmem.engine.keys import Tag
from inmem.engine.limits import DEFAULT_LIMITS, INT_MAX, Limits
from inmem.engine.log.log_records import encode_operations
from inmem.engine.tables.persistent_map import persistent
from inmem.engine.tables.snapshot import Snapshot
from inmem.engine.tables.table import Table
from tests.engine.seeded_entropy import SeededEntropy

ACTIVE, VALIDATING, COMMITTED, ABORTED = TransactionStatus
PATHS = {ACTIVE: (), VALIDATING: (VALIDATING,), COMMITTED: (VALIDATING, COMMITTED), ABORTED: (ABORTED,)}
ALLOWED = {(ACTIVE, VALIDATING), (ACTIVE, ABORTED), (VALIDATING, COMMITTED), (VALIDATING, ABORTED)}


def begin(isolation: Isolation = Isolation.SNAPSHOT, limits: Limits = DEFAULT_LIMITS) -> Transaction:
    table = Table.build({b"k": (2, b"x", 0), b"l": (3, b"y", 0)})
    return Transaction(7, Snapshot(5, (persistent({("r", Tag.KV): table}),)), 1_000, SeededEntropy(), isolation, limits)


@pytest.mark.parametrize("to_status", TransactionStatus)
@pytest.mark.parametrize("from_status", TransactionStatus)
def test_only_the_documented_transitions_are_possible(from_status, to_status) -> None:
    txn = begin()
    for step in PATHS[from_status]:
        txn.finish(step)
    if (from_status, to_status) in ALLOWED:
        txn.finish(to_status)
        assert txn.status is to_status
    else:
        with pytest.raises(TransactionClosedError) as caught:
            txn.finish(to_status)
        assert caught.value.status == from_status
        assert txn.status is from_status


def test_the_status_table_covers_every_status() -> None:
    assert set(TRANSITIONS) == set(TransactionStatus)


OPERATIONS = {
    "a view of another table": lambda txn: txn.view("r", Tag.STATE),
    "drop_run": lambda txn: txn.drop_run("r"),
    "new_id": lambda txn: txn.new_id(),
    "mark": lambda txn: txn.mark(),
    "rollback_to": lambda txn: txn.rollback_to(0),
    "seal": lambda txn: txn.seal(),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
@pytest.mark.parametrize("status", [VALIDATING, COMMITTED, ABORTED])
def test_a_transaction_that_has_ended_refuses_everything(operation, status) -> None:
    txn = begin()
    txn.mark()
    txn.view("r", Tag.KV).put(b"k", b"1")
    for step in PATHS[status]:
        txn.finish(step)
    with pytest.raises(TransactionClosedError) as caught:
        operation(txn)
    assert caught.value.status == status
    assert txn.status is status


def reached_from(start: object) -> list[object]:
    """Return every object that `start` keeps alive, classes and functions aside."""
    found: dict[int, object] = {}
    ahead = [start]
    while ahead:
        here = ahead.pop()
        # The collector knows nothing of a struct that it does not track, such as the tables of a shard.
        for each in astuple(here) if isinstance(here, Struct) else gc.get_referents(here):
            if id(each) not in found and not isinstance(each, type | FunctionType | ModuleType):
                found[id(each)] = each
                ahead.append(each)
    return [*found.values()]


@pytest.mark.parametrize("status", [COMMITTED, ABORTED])
@pytest.mark.parametrize("isolation", Isolation)
@pytest.mark.parametrize("does_mark", [False, True])
def test_a_transaction_that_is_released_keeps_neither_its_snapshot_nor_what_it_read_and_wrote(
    status, isolation, does_mark
) -> None:
    txn = begin(isolation)
    snapshot = txn.snapshot
    view = txn.view("r", Tag.KV)
    if does_mark:
        txn.mark()
    assert [*view.scan()] == [(b"k", b"x"), (b"l", b"y")]
    view.put(b"large", bytes(100))
    view.cas(b"k", 2, bytes(200))
    assert view.last() == (b"large", bytes(100))
    txn.drop_run("r")
    view.put(b"afterwards", bytes(300))
    table = snapshot.table("r", Tag.KV)
    kept = [snapshot, table, *view.writes.values()]

    before = {id(each) for each in reached_from(txn)}
    assert before >= {id(each) for each in kept}

    for step in PATHS[status]:
        txn.finish(step)
    txn.release()
    after = reached_from((txn, view))
    assert not {id(each) for each in after} & {id(each) for each in kept}
    assert max(len(each) for each in after if isinstance(each, bytes)) < 100


def test_seal_gives_an_immutable_account_of_everything() -> None:
    txn = begin(Isolation.SERIALIZABLE)
    view = txn.view("r", Tag.KV)
    assert txn.view("r", Tag.KV) is view
    view.get(b"k")
    view.get(b"none")
    view.put(b"p", b"1", 9)
    view.delete(b"l")
    view.cas(b"c", 4, b"2")
    list(view.scan(b"a", b"b"))
    txn.view("other", Tag.EVENT)
    txn.drop_run("gone")
    reads = ((b"k", (2, b"x", 0)), (b"none", None), (b"l", (3, b"y", 0)))
    writes = ((b"p", b"1", 9), (b"l", None, 0), (b"c", b"2", 0))
    assert txn.seal() == CommitRequest(
        7,
        5,
        (
            Slice(("r", Tag.KV), reads, (b"c",), ((b"c", 4, False),), ((b"a", b"b"),), writes),
            Slice(("other", Tag.EVENT), (), (), (), (), ()),
        ),
        ("gone",),
        True,
        1_000,
        encode_operations([("gone",), ("r", Tag.KV, writes)]),
        expires=True,
    )
    assert txn.status is VALIDATING


def test_a_snapshot_transaction_does_not_remember_ranges() -> None:
    txn = begin()
    view = txn.view("r", Tag.KV)
    list(view.scan())
    view.count()
    view.last()
    assert txn.seal().slices[0].scans == ()


def test_a_transaction_too_large_for_one_record_stays_active() -> None:
    txn = begin(limits=Limits(transaction_bytes_max=10))
    view = txn.view("r", Tag.KV)
    view.put(b"12345", b"12345")
    view.delete(b"k")
    with pytest.raises(UsageError, match="writes 11 bytes, at most 10"):
        txn.seal()
    view.put(b"12345", b"1234")
    assert txn.seal().slices[0].judged == [b"12345", b"k"]


def test_many_writes_are_counted_before_they_are_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is far too much to be committed would otherwise be in memory twice before it is refused."""
    monkeypatch.setattr(transaction, "encode_operations", None)
    txn = begin(limits=Limits(transaction_bytes_max=transaction.UNCOUNTED_WRITES_MAX))
    for number in range(transaction.UNCOUNTED_WRITES_MAX + 1):
        txn.view("r", Tag.KV).put(bytes([number]), b"")
    with pytest.raises(UsageError, match="writes 17 bytes, at most 16"):
        txn.seal()


@pytest.mark.parametrize("excess", [0, 1])
def test_what_a_frame_cannot_hold_is_refused_to_the_byte(monkeypatch: pytest.MonkeyPatch, excess: int) -> None:
    def written() -> Transaction:
        # So that what is packed is larger than that, and what is written is not.
        txn = begin(limits=Limits(transaction_bytes_max=100))
        txn.drop_run("dropped")
        for number in range(9):
            txn.view(f"run-{number}", Tag.KV).put(b"k", bytes(number))
        return txn

    # Under the longest id that the coordinator can give it, and the latest time.
    most = len(replace(written().seal(), transaction_id=INT_MAX, timestamp_us=INT_MAX).record()) - excess
    monkeypatch.setattr(transaction, "FRAME_BYTES_MAX", most)
    txn = written()
    if not excess:
        txn.seal()
        return
    with pytest.raises(UsageError, match=f"takes {most + 1} bytes in the log, at most {most}"):
        txn.seal()
    txn.view("run-8", Tag.KV).put(b"k", b"")
    txn.seal()


def test_a_transaction_that_has_read_too_much_may_not_write() -> None:
    txn = begin(limits=Limits(transaction_reads_max=2))
    view = txn.view("r", Tag.KV)
    for key in (b"k", b"l", b"m"):
        view.get(key)
    view.put(b"n", b"1")
    with pytest.raises(UsageError, match="has read 3 keys, at most 2"):
        txn.seal()
    assert txn.status is TransactionStatus.ACTIVE


def test_reading_and_deleting_what_is_not_there_leave_nothing_to_commit() -> None:
    txn = begin()
    view = txn.view("r", Tag.KV)
    view.get(b"k")
    assert view.delete(b"none") is False
    view.put(b"new", b"1")
    assert view.delete(b"new") is True
    assert not txn.has_writes


def test_a_drop_alone_is_something_to_commit() -> None:
    txn = begin()
    txn.drop_run("never seen")
    assert txn.has_writes


def test_writes_after_the_drop_of_a_run_start_afresh() -> None:
    txn = begin()
    view = txn.view("r", Tag.KV)
    view.put(b"before", b"1")
    txn.drop_run("r")
    view.put(b"after", b"1")
    assert list(view.scan()) == [(b"after", b"1")]
    request = txn.seal()
    assert (request.slices[0].writes, request.dropped_runs) == (((b"after", b"1", 0),), ("r",))


def test_dropping_a_run_twice_and_taking_the_second_back_leaves_the_first() -> None:
    txn = begin()
    view = txn.view("r", Tag.KV)
    txn.drop_run("r")
    view.put(b"between", b"1")
    mark = txn.mark()
    txn.drop_run("r")
    late = txn.view("r", Tag.STATE)
    txn.rollback_to(mark)
    assert list(view.scan()) == [(b"between", b"1")]
    assert (late.get(b"k"), late.slice().reads) == (None, ())
    assert txn.seal().dropped_runs == ("r",)


def test_taking_back_needs_a_mark() -> None:
    with pytest.raises(InvariantError):
        begin().rollback_to(0)


def test_new_ids_are_different() -> None:
    txn = begin()
    assert len({txn.new_id() for _ in range(100)}) == 100
