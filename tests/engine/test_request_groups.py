"""RequestGroups before a store that commits, refuses and aborts as the test says: who is told what, and how often."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from inmem.engine.commits import request_groups as request_groups_module
from inmem.engine.commits.request_groups import COMMIT_VERSION, Postpone, RequestGroups
from inmem.engine.commits.table_view import TableView
from inmem.engine.commits.transaction import CommitRequest, Transaction
from inmem.engine.errors import DiskFullError, InvariantError, TransactionAbortedError, UsageError
from inmem.engine.keys import Tag, event_key, sequence_of
from inmem.engine.limits import Limits
from inmem.engine.tables.persistent_map import persistent
from inmem.engine.tables.snapshot import Snapshot
from inmem.engine.tables.table import Table
from tests.engine.seeded_entropy import SeededEntropy

LIMITS = Limits(transaction_bytes_max=60)
FULL = DiskFullError("full")
RESTARTED = TransactionAbortedError("the store was restarted")
GIVEN_UP = DiskFullError("given up")


@pytest.fixture(autouse=True, scope="module")
def small_groups_and_little_patience():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(request_groups_module, "GROUP_REQUESTS_MAX", 6)
        patch.setattr(request_groups_module, "BACKOFF_AFTER", 2)
        patch.setattr(request_groups_module, "ABORTS_MAX", 3)
        yield


@dataclass(eq=False)
class Request:
    """("add", n) answers the sum after it; ("note", n) adds and answers the version; ("sum", 0) the sum, in a group of
    its own opening; ("fail", n) adds and then fails; ("set", n) writes a key that others write too, and answers the
    version; ("fill", n) writes n bytes under a key of its own."""

    number: int
    message: tuple[str, int]
    answers: list[Any] = field(default_factory=list)

    def answer(self, value: Any) -> None:
        self.answers.append(value)

    def refuse(self, error: BaseException) -> None:
        self.answers.append(error)


class StruckError(Exception):
    """Cuts short whoever sends a commit."""


def sum_of(added: TableView) -> int:
    return sum(int(value) for _, value in added.scan())


class Store:
    """A list of numbers, one key and some more, and what a group does to them. The `RequestOutbox` of the groups."""

    def __init__(self) -> None:
        self.newest_group = 0
        self.strikes = ""
        self.snapshot = Snapshot.empty(1)
        self.in_flight: tuple[CommitRequest, int, int] | None = None
        self.paused: int | None = None
        self.rests = 0

    @property
    def sum(self) -> int:
        return sum_of(self.begin().view("run", Tag.EVENT))

    def begin(self) -> Transaction:
        return Transaction(0, self.snapshot, 1_000, SeededEntropy(), limits=LIMITS)

    def perform(self, txn: Transaction, message: tuple[str, int]) -> Any:
        kind, number = message
        view, added = txn.view("run", Tag.KV), txn.view("run", Tag.EVENT)
        if kind == "set":
            view.put(b"set", b"%d" % number)
            return COMMIT_VERSION
        if kind == "fill":
            view.put(b"%03d" % number, bytes(number))
            return number
        last = added.last()
        if kind == "sum":
            if last is not None and added.wrote(last[0]):
                raise Postpone
            return sum_of(added)
        key = event_key(0 if last is None else sequence_of(last[0]) + 1)
        added.put(key, b"%d" % number)
        if kind == "fail":
            raise UsageError("refused")
        return COMMIT_VERSION if kind == "note" else sum_of(added)

    def commit(self, request: CommitRequest, attempt: int, group: int) -> None:
        if self.strikes == "before":
            self.strikes = ""
            raise StruckError
        if group > self.newest_group:
            assert self.in_flight is None, "two commits at once"
            assert self.paused is None, "a commit within a pause"
            self.newest_group = group
            self.in_flight = request, attempt, group
        if self.strikes == "after":
            self.strikes = ""
            raise StruckError

    def pause(self, delay_s: float, group: int) -> None:
        assert delay_s > 0
        self.paused = group

    def rest(self) -> None:
        self.rests += 1

    def apply(self, request: CommitRequest) -> int:
        [root] = self.snapshot.roots
        version = self.snapshot.version + 1
        tables = root.as_dict()
        for part_slice in request.slices:
            table_id = part_slice.table_id
            tables[table_id] = tables.get(table_id, Table.EMPTY).apply(part_slice.writes, version)
        self.snapshot = Snapshot(version, (persistent(tables),))
        return version


class RequestMachine(RuleBasedStateMachine):
    """Requests against commits that succeed, lose and come to nothing, pauses, and actors that take over."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store()
        self.requests: list[Request] = []
        self.given_up = False

    @initialize()
    def start(self) -> None:
        self.groups: RequestGroups[Request] = RequestGroups("test", self.store, SeededEntropy())

    @property
    def unanswered(self) -> list[Request]:
        return [request for request in self.requests if not request.answers]

    def tell(self, work: Callable[[], None]) -> None:
        """Have the groups do something; if they are cut short in it, somebody takes over."""
        try:
            work()
        except StruckError:
            self.somebody_takes_over()

    @rule(when=st.sampled_from(["before", "after"]))
    def the_next_commit_is_cut_short(self, when: str) -> None:
        self.store.strikes = when

    @rule(
        messages=st.lists(
            st.tuples(st.sampled_from(["add", "note", "sum", "fail", "set"]), st.integers(1, 9))
            | st.tuples(st.just("fill"), st.sampled_from([10, 40, 70])),
            min_size=1,
            max_size=9,
        )
    )
    def ask(self, messages: list[tuple[str, int]]) -> None:
        for message in messages:
            request = Request(len(self.requests), message)
            self.requests.append(request)
            self.tell(lambda request=request: self.groups.append(request))
            if self.given_up:
                assert request.answers == [GIVEN_UP]

    @precondition(lambda self: self.store.in_flight)
    @rule()
    def commit_succeeds(self) -> None:
        assert self.store.in_flight is not None
        (request, _, group), self.store.in_flight = self.store.in_flight, None
        total, before = self.store.sum, self.unanswered
        version = self.store.apply(request)
        # Of groups that have been decided already, or not been begun, nothing is to be heard.
        self.tell(lambda: self.groups.committed(group + 1, version))
        assert self.unanswered == before
        self.tell(lambda: self.groups.committed(group, version))
        self.check_answers(before, total, version)

    def check_answers(self, before: list[Request], total: int, version: int) -> None:
        """The answers are those of the requests one after the other, beginning with the state before the commit."""
        answered = [request for request in before if request.answers]
        assert answered, "a commit that nobody hears of"
        assert answered == before[: len(answered)], "somebody was passed by"
        for request in answered:
            kind, number = request.message
            [answer] = request.answers
            if kind == "fail" or (kind == "fill" and number > LIMITS.transaction_bytes_max):
                assert isinstance(answer, UsageError)
                continue
            total += number if kind in {"add", "note"} else 0
            expected = {"add": total, "sum": total, "note": version, "set": version, "fill": number}[kind]
            assert answer == expected
        writers = [request for request in answered if request.message[0] == "set"]
        assert len(writers) <= 1, "two writes of one key with one version"

    @precondition(lambda self: self.store.in_flight)
    @rule(others=st.integers(0, 3))
    def commit_loses(self, others: int) -> None:
        assert self.store.in_flight is not None
        (_, _, group), self.store.in_flight = self.store.in_flight, None
        for _ in range(others):
            txn = self.store.begin()
            self.store.perform(txn, ("add", 1000))
            self.store.apply(txn.seal())
        self.tell(lambda: self.groups.lost(group))

    @precondition(lambda self: self.store.in_flight)
    @rule(error=st.sampled_from([FULL, RESTARTED, RESTARTED]))
    def commit_comes_to_nothing(self, error: DiskFullError | TransactionAbortedError) -> None:
        assert self.store.in_flight is not None
        (_, _, group), self.store.in_flight = self.store.in_flight, None
        self.tell(lambda: self.groups.aborted(group, error))

    @precondition(lambda self: self.store.paused is not None)
    @rule()
    def the_pause_is_over(self) -> None:
        group, self.store.paused = self.store.paused, None
        assert group is not None
        self.tell(lambda: self.groups.retry(group))

    @rule()
    def a_timer_of_an_earlier_group_rings(self) -> None:
        self.groups.retry(-1)

    @rule()
    def somebody_takes_over(self) -> None:
        earlier = self.groups
        self.groups = RequestGroups("test", self.store, SeededEntropy())
        self.groups.take_over(earlier, self.unanswered)
        self.given_up = False
        # Its timer names a group, and the successor goes on in any case.
        self.store.paused = None
        self.tell(self.groups.go_on)

    @rule()
    def it_is_given_up(self) -> None:
        self.groups.refuse_all(GIVEN_UP)
        self.given_up = True
        self.store.paused = None

    @invariant()
    def keeps_its_promises(self) -> None:
        assert all(len(request.answers) <= 1 for request in self.requests), "answered twice"
        if not self.requests:
            return
        goes_on = self.store.in_flight is not None or self.store.paused is not None
        assert not self.unanswered or goes_on, "somebody waits for nothing"
        assert self.groups.is_idle == (not self.unanswered)
        assert self.groups.is_idle or goes_on

    def teardown(self) -> None:
        while self.requests and self.unanswered:
            if self.store.paused is not None:
                self.the_pause_is_over()
            else:
                self.commit_succeeds()
            self.keeps_its_promises()
        if self.requests and not self.given_up:
            assert self.store.rests, "nobody was told that all is done"


TestRequestMachine = RequestMachine.TestCase
TestRequestMachine.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


def test_a_request_that_breaks_takes_nobody_with_it() -> None:
    """The actor fails over it, and its successor goes on with the next."""
    store = Store()
    groups: RequestGroups[Request] = RequestGroups("test", store, SeededEntropy())
    broken, sound = Request(0, ("broken", "no number")), Request(1, ("add", 1))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        groups.append(broken)
    assert not broken.answers, "whoever stops over it has told, and its actor tells again"
    successor: RequestGroups[Request] = RequestGroups("test", store, SeededEntropy())
    successor.take_over(groups, [broken, sound])
    [answer] = broken.answers
    assert isinstance(answer, TransactionAbortedError)
    assert "the test actor failed: " in answer.reason
    successor.go_on()
    assert store.in_flight is not None
    successor.committed(store.in_flight[2], store.apply(store.in_flight[0]))
    assert sound.answers == [1]
    assert broken.answers == [answer]


def test_whoever_opens_a_group_cannot_postpone_itself() -> None:
    class Never(Store):
        def perform(self, txn: Transaction, message: tuple[str, int]) -> Any:
            raise Postpone

    groups: RequestGroups[Request] = RequestGroups("test", Never(), SeededEntropy())
    with pytest.raises(InvariantError, match="postpones itself"):
        groups.append(Request(0, ("add", 1)))


def test_aborts_in_a_row_end_in_a_refusal_and_a_loss_between_starts_anew() -> None:
    store = Store()
    groups: RequestGroups[Request] = RequestGroups("test", store, SeededEntropy())
    request = Request(0, ("add", 1))
    groups.append(request)

    def decided(decide: Any, *details: Any) -> None:
        if store.paused is not None:
            group, store.paused = store.paused, None
            groups.retry(group)
        assert store.in_flight is not None
        (_, _, group), store.in_flight = store.in_flight, None
        decide(group, *details)

    for _ in range(3):
        decided(groups.aborted, RESTARTED)
    decided(groups.lost)
    for _ in range(3):
        assert request.answers == []
        decided(groups.aborted, RESTARTED)
    assert request.answers == []
    decided(groups.aborted, RESTARTED)
    assert request.answers == [RESTARTED]
    assert groups.is_idle


@pytest.mark.parametrize("end", ["refused", "nothing to write"])
def test_what_befell_a_group_does_not_count_against_the_next(end: str) -> None:
    class Changing(Store):
        has_changed = False

        def perform(self, txn: Transaction, message: tuple[str, int]) -> Any:
            if self.has_changed and message == ("add", 1):
                if end == "refused":
                    raise UsageError("no longer")
                return 1
            return super().perform(txn, message)

    store = Changing()
    groups: RequestGroups[Request] = RequestGroups("test", store, SeededEntropy())
    first, second = Request(0, ("add", 1)), Request(1, ("fill", 2))
    groups.append(first)
    groups.append(second)
    assert store.in_flight is not None
    store.has_changed = True
    (_, attempt, group), store.in_flight = store.in_flight, None
    assert attempt == 0
    # Carried out again it is alone in its group: of one that has lost, half comes first.
    groups.lost(group)
    assert len(first.answers) == 1
    assert store.in_flight is not None
    assert store.in_flight[1] == 0


def test_among_commits_that_each_take_one_of_its_keys_a_group_gets_smaller_until_it_gets_through() -> None:
    """Whole, it would lose for ever: whenever it is judged, somebody has just written one of its keys."""
    store = Store()
    groups: RequestGroups[Request] = RequestGroups("test", store, SeededEntropy())
    opener = Request(0, ("add", 1))
    groups.append(opener)
    requests = [Request(number, ("fill", number)) for number in range(1, 7)]
    for request in requests:
        groups.append(request)
    assert store.in_flight is not None
    (commit, _, group), store.in_flight = store.in_flight, None
    groups.committed(group, store.apply(commit))
    sizes: list[int] = []
    for attempt in range(60):
        if store.paused is not None:
            paused, store.paused = store.paused, None
            groups.retry(paused)
        if store.in_flight is None:
            break
        (commit, _, group), store.in_flight = store.in_flight, None
        keys = [write[0] for part_slice in commit.slices for write in part_slice.writes]
        sizes.append(len(keys))
        if b"%03d" % requests[attempt % 6].number in keys:
            groups.lost(group)
        else:
            groups.committed(group, store.apply(commit))
    assert [request.answers for request in requests] == [[number] for number in range(1, 7)]
    assert sizes[:3] == [6, 3, 1]


def test_who_has_lost_alone_carries_out_more_at_once_when_it_gets_through_again() -> None:
    store = Store()
    groups: RequestGroups[Request] = RequestGroups("test", store, SeededEntropy())
    for number in range(16):
        groups.append(Request(number, ("add", 1)))
    answered: list[int] = []
    for decide in ("lost", *["committed"] * 5):
        assert store.in_flight is not None
        (commit, _, group), store.in_flight = store.in_flight, None
        if decide == "lost":
            groups.lost(group)
        else:
            groups.committed(group, store.apply(commit))
            answered.append(store.sum)
    assert answered == [1, 3, 7, 13, 16]
    assert groups.is_idle
