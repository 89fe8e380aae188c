"""The commit pipeline with real shards and transactions, under a scheduler that delivers messages in any order.

Every seed is one history of some dozens of transactions. While it runs, each published snapshot is compared with a
replay of the log; when everything has come to rest, each commit is run again on the state right before it, as the
isolation levels promise. The planted bugs at the end show that all this can fail.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from inmem.engine.commits.conflicts import Conflict, WriteConflict
from inmem.engine.commits.part import Part, Slice
from inmem.engine.commits.pipeline import Batch, CommitPipeline, InFlight
from inmem.engine.commits.shard import Prepared, Refused, Shard, Verdict
from inmem.engine.commits.transaction import CommitRequest, Isolation, Transaction
from inmem.engine.errors import DiskFullError, InvariantError, TransactionTimeoutError
from inmem.engine.keys import Key, Tag, prefix_end, shard_of
from inmem.engine.log.log_records import DropRun, decode_commit, encode_operations
from inmem.engine.tables.entry import version_of
from inmem.engine.tables.persistent_map import persistent
from inmem.engine.tables.snapshot import Snapshot
from tests.engine.seeded_entropy import SeededEntropy

SEEDS = 200
TRANSACTIONS = 40
OPEN_MAX = 7
STEPS_MAX = 20_000
# Whatever the number of shards, these do not all fall to one: `test_the_runs_are_spread`.
RUNS = ["ada", "bob", "cyd", "dan"]
KEYS = [b"a", b"ab", b"abc", b"b", b"bc", b"c"]
OPERATIONS = ["get", "put", "delete", "cas", "scan", "last", "count", "drop"]

State = dict[tuple[str, bytes], tuple[int, bytes | None]]


@dataclass(eq=False)
class Client:
    """One transaction and what its caller saw."""

    txn: Transaction
    serializable: bool
    operations: list[tuple[str, str, bytes, object]] = field(default_factory=list)
    request: CommitRequest | None = None
    answers: list[str] = field(default_factory=list)
    version: int = 0
    appended: bool = False
    cancelled_in_time: bool = False


class House:
    """Pipeline, shards, log and clients, with one queue for each pair that talks. Also the pipeline's `Outbox`."""

    pipeline_class: type[CommitPipeline[Client]] = CommitPipeline
    shard_class: type[Shard] = Shard

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        # Each history has a character of its own: which operations it consists of, and how far it runs behind.
        self.weights = {operation: self.random.choice([0, 0, 1, 4]) for operation in OPERATIONS} | {"put": 3, "get": 3}
        self.delivery = self.random.choice([1, 2, 4])
        self.shards = [self.shard_class(persistent({})) for _ in range(self.random.randint(1, 4))]
        self.published = Snapshot.empty(len(self.shards))
        self.pipeline: CommitPipeline[Client] = self.pipeline_class(self, self.published)
        self.queues: dict[tuple[str, int], deque[Callable[[], object]]] = {}
        self.to_log: list[tuple[int, bytes]] = []
        self.log: list[tuple[int, bytes]] = []
        self.states: list[State] = [{}]
        self.clients: list[Client] = []
        self.open: list[Client] = []
        self.sent: dict[int, Client] = {}
        self.seen: Counter[str] = Counter()

    # What the pipeline decides.

    def validate(self, shard: int, part: Part) -> None:
        self.post("to shard", shard, lambda: self.judge(shard, part))

    def release(self, shard: int, transaction_id: int) -> None:
        self.post("to shard", shard, lambda: self.shards[shard].release(transaction_id))

    def append(self, transaction_id: int, record: bytes) -> None:
        self.sent[transaction_id].appended = True
        self.post("to log", 0, lambda: self.to_log.append((transaction_id, record)))

    def apply(self, shard: int, batch_version: int, commits: tuple[tuple[int, int], ...]) -> None:
        self.post("to shard", shard, lambda: self.apply_batch(shard, batch_version, commits))

    def publish(self, snapshot: Snapshot, commits: Sequence[tuple[InFlight[Any], int]]) -> None:
        assert snapshot.version > self.published.version
        records = [(version, flight.record) for flight, version in commits]
        assert records == [
            (version, record)
            for version, (_, record) in enumerate(self.log[: snapshot.version], start=1)
            if version > self.published.version
        ], "a commit is announced out of order, or not as the log has it"
        assert snapshot.version <= len(self.log), "published ahead of the log"
        snapshot.check()
        found = {
            (run, key): (version, value)
            for run, _, table in snapshot.tables()
            for key, (version, value, _) in table.range()
        }
        assert found == self.states[snapshot.version], "a snapshot is not the log up to its version"
        self.published = snapshot

    def committed(self, reply: Client, request: CommitRequest, version: int) -> None:
        assert request is reply.request
        assert version <= self.published.version, "told of a commit that is not visible yet"
        assert not reply.cancelled_in_time
        reply.version = version
        self.answer(reply, "committed")

    def refused(self, reply: Client, request: CommitRequest, conflicts: tuple[Conflict, ...]) -> None:
        assert request is reply.request
        assert conflicts
        assert len(set(conflicts)) == len(conflicts)
        newest = max(conflict.current_version for conflict in conflicts)
        assert newest <= self.published.version, "a retry would not see what this attempt lost to"
        state = self.states[self.published.version]
        assert broken_promises(self, reply, state, self.published.version + 1), "refused without a reason"
        assert not reply.cancelled_in_time
        self.answer(reply, "refused")

    def aborted(self, reply: Client, request: CommitRequest, error: Exception) -> None:
        assert request is reply.request
        assert isinstance(error, TransactionTimeoutError if reply.cancelled_in_time else DiskFullError)
        self.answer(reply, "cancelled" if reply.cancelled_in_time else "not logged")

    def answer(self, client: Client, answer: str) -> None:
        client.answers.append(answer)
        assert len(client.answers) == 1, "answered twice"
        self.seen[answer] += 1

    # What the others do with it.

    def post(self, channel: str, number: int, message: Callable[[], object]) -> None:
        self.queues.setdefault((channel, number), deque()).append(message)

    def judge(self, shard: int, part: Part) -> None:
        verdict = self.shards[shard].prepare(part)
        self.seen[type(verdict).__name__] += 1
        self.post("from shard", shard, lambda: self.pipeline.verdict(part.transaction_id, shard, verdict))

    def apply_batch(self, shard: int, batch_version: int, commits: tuple[tuple[int, int], ...]) -> None:
        for transaction_id, version in commits:
            self.shards[shard].apply(transaction_id, version)
        root = self.shards[shard].root
        self.post("from shard", shard, lambda: self.pipeline.applied(shard, batch_version, root))

    def write_log(self) -> None:
        count = self.random.randint(1, len(self.to_log))
        group, self.to_log = self.to_log[:count], self.to_log[count:]
        transaction_ids = [transaction_id for transaction_id, _ in group]
        if self.random.random() < 0.15:
            self.post("from log", 0, lambda: self.pipeline.append_refused(transaction_ids, DiskFullError("full")))
            return
        first_version = len(self.log) + 1
        for transaction_id, record in group:
            self.log.append((transaction_id, record))
            self.states.append(replay(self.states[-1], len(self.log), record))
        self.post("from log", 0, lambda: self.pipeline.appended(first_version, transaction_ids))

    # What the clients do.

    def begin(self) -> None:
        serializable = self.random.random() < 0.5
        isolation = Isolation.SERIALIZABLE if serializable else Isolation.SNAPSHOT
        transaction_id = len(self.clients) + 1
        client = Client(Transaction(transaction_id, self.published, 0, SeededEntropy(), isolation), serializable)
        for number in range(self.random.randint(1, 4)):
            self.operate(client, b"%d.%d" % (transaction_id, number))
        if not client.txn.has_writes:
            self.operate(client, b"%d" % transaction_id, "put")
        self.clients.append(client)
        self.open.append(client)

    def operate(self, client: Client, value: bytes, operation: str = "") -> None:
        operation = operation or self.random.choices([*self.weights], [*self.weights.values()])[0]
        run, key = self.random.choice(RUNS), self.random.choice(KEYS)
        view = client.txn.view(run, Tag.KV)
        result: object = None
        match operation:
            case "get":
                result = view.get(key)
            case "put":
                view.put(key, value)
                result = value
            case "delete":
                result = view.delete(key)
            case "cas":
                # Mostly what is there; sometimes what cannot be.
                result = (view._committed(key)[0] + (self.random.random() < 0.1), value)
                view.cas(key, *result)
            case "scan":
                result = list(view.scan(key, prefix_end(key)))
            case "last":
                result = view.last()
            case "count":
                result = view.count()
            case "drop":
                client.txn.drop_run(run)
        client.operations.append((operation, run, key, result))

    def commit(self) -> None:
        client = self.open.pop(self.random.randrange(len(self.open)))
        if not client.txn.has_writes:
            client.answers.append("nothing to commit")
            return
        client.request = client.txn.seal()
        self.sent[client.txn.id] = client
        self.pipeline.commit(client.request, client)

    def cancel(self) -> None:
        client = self.random.choice([*self.sent.values()])
        client.cancelled_in_time |= not client.answers and not client.appended
        self.pipeline.cancel(client.txn.id, TransactionTimeoutError(1.0))

    def deliver(self) -> None:
        self.random.choice([queue for queue in self.queues.values() if queue]).popleft()()

    def run(self) -> None:
        """Run to the end and judge the history.

        Raises:
            AssertionError, InvariantError: the pipeline broke a promise.
        """
        for _ in range(STEPS_MAX):
            steps: list[Callable[[], None]] = []
            if len(self.clients) < TRANSACTIONS and len(self.open) < OPEN_MAX:
                steps.append(self.begin)
            if self.open:
                steps.append(self.commit)
            if self.sent and self.random.random() < 0.02:
                steps.append(self.cancel)
            if self.to_log:
                steps.append(self.write_log)
            if any(self.queues.values()):
                steps += [self.deliver] * self.delivery
            if not steps:
                break
            self.random.choice(steps)()
            self.pipeline.check()
        else:
            raise AssertionError("it never comes to rest")
        self.judge_history()

    def judge_history(self) -> None:
        assert self.pipeline.in_flight == 0, "somebody waits although nothing is on its way"
        assert not self.pipeline._waiters
        for shard in self.shards:
            shard.check()
            assert not shard._prepared, "a reservation was left behind"
        assert all(len(client.answers) == 1 for client in self.clients)
        assert self.published.version == len(self.log)
        for version, (transaction_id, _) in enumerate(self.log, 1):
            client = self.sent[transaction_id]
            assert client.version == version, "versions do not follow the log"
            assert not broken_promises(self, client, self.states[version - 1], version)
        assert len(self.log) == sum(client.answers == ["committed"] for client in self.clients)


def replay(state: State, version: int, record: bytes) -> State:
    state = dict(state)
    for operation in decode_commit(record, "log", 0).operations:
        if isinstance(operation, DropRun):
            state = {place: entry for place, entry in state.items() if place[0] != operation.run}
        else:
            for key, value, _ in operation.writes:
                state[operation.run, key] = (version, value)
    return state


def broken_promises(house: House, client: Client, state: State, version: int) -> list[str]:
    """What would be wrong with `client`'s transaction as commit number `version`, directly after `state`."""
    request = client.request
    assert request is not None
    start = request.start_version
    broken: list[str] = []
    gone: set[str] = set()
    for _, record in house.log[start : version - 1]:
        gone |= {drop.run for drop in decode_commit(record, "log", 0).operations if isinstance(drop, DropRun)}
    for part in request.slices:
        run, reads, judged, expected, scans = part.run, part.reads, part.judged, part.expected, part.scans
        if run in gone and (reads or judged or expected or scans):
            broken.append(f"{run} was dropped since")
        broken += [f"read {key!r}" for key, seen in reads if state.get((run, key), (0, None))[0] != version_of(seen)]
        broken += [f"wrote {key!r}" for key in judged if state.get((run, key), (0, None))[0] > start]
        broken += [
            f"expected {key!r}"
            for key, wanted, after_drop in expected
            if (0 if after_drop else state.get((run, key), (0, None))[0]) != wanted
        ]
        broken += [
            f"scanned {key!r}"
            for first, end in scans
            for (owner, key), (at, _) in state.items()
            if owner == run and at > start and first <= key and (end is None or key < end)
        ]
    for run in request.dropped_runs:
        if run in gone or any(at > start for (owner, _), (at, _) in state.items() if owner == run):
            broken.append(f"dropped {run}")
    if client.serializable:
        broken += anomalies(client, state)
    return broken


def anomalies(client: Client, state: State) -> list[str]:
    """Run a serializable transaction alone on `state`: what comes out differently?"""
    values = {place: value for place, (_, value) in state.items() if value is not None}
    differing: list[str] = []
    for operation, run, key, result in client.operations:
        here = sorted((k, value) for (owner, k), value in values.items() if owner == run)
        now: object = result
        match operation:
            case "get":
                now = values.get((run, key))
            case "put":
                values[run, key] = result
            case "delete":
                now = values.pop((run, key), None) is not None
            case "cas":
                values[run, key] = result[1]
            case "scan":
                now = [pair for pair in here if pair[0].startswith(key)]
            case "last":
                now = here[-1] if here else None
            case "count":
                now = len(here)
            case "drop":
                values = {place: value for place, value in values.items() if place[0] != run}
        if now != result:
            differing.append(f"{operation} {run} {key!r}: {result!r}, alone {now!r}")
    return differing


def test_every_history_keeps_every_promise() -> None:
    seen: Counter[str] = Counter()
    for seed in range(SEEDS):
        house = House(seed)
        house.run()
        seen += house.seen
    # All of it happened, so all of it was judged.
    assert all(seen[answer] > SEEDS for answer in ("committed", "refused", "not logged", "cancelled"))
    assert all(seen[verdict] > SEEDS for verdict in ("Prepared", "Refused", "Blocked"))


@pytest.mark.parametrize("shards", [2, 3, 4])
def test_the_runs_are_spread(shards: int) -> None:
    assert len({shard_of(run, shards) for run in RUNS}) >= min(shards, 3)


def test_the_same_seed_gives_the_same_history() -> None:
    first, second = House(5), House(5)
    first.run()
    second.run()
    assert first.log == second.log


def request_of(transaction_id: int, *keys: bytes, run: str = RUNS[0]) -> CommitRequest:
    writes = tuple((key, b"x", 0) for key in keys)
    slices = (Slice((run, Tag.KV), (), (), (), (), writes),)
    return CommitRequest(
        transaction_id, 0, slices, (), True, 0, encode_operations([(run, Tag.KV, writes)]), expires=False
    )


def at_rest(shards: int = 1) -> tuple[House, CommitPipeline[Client]]:
    """A house whose queues are not delivered, and its pipeline with two transactions sent to validation."""
    house = House(0)
    pipeline = CommitPipeline(house, Snapshot.empty(shards))
    for transaction_id, key in enumerate([b"a", b"b"], 1):
        client = Client(Transaction(transaction_id, Snapshot.empty(shards), 0, SeededEntropy()), serializable=False)
        client.request = request_of(transaction_id, key)
        house.sent[transaction_id] = client
        pipeline.commit(client.request, client)
    return house, pipeline


def test_answers_that_nobody_asked_for_are_bugs() -> None:
    house, pipeline = at_rest()
    with pytest.raises(InvariantError, match="not being validated"):
        pipeline.verdict(3, 0, Prepared())
    with pytest.raises(InvariantError, match="not asked for"):
        pipeline.applied(0, 1, persistent({}))
    pipeline.verdict(1, 0, Prepared())
    pipeline.verdict(2, 0, Prepared())
    with pytest.raises(InvariantError, match="next in order is 1"):
        pipeline.append_refused([2], DiskFullError("full"))
    pipeline.appended(1, [1])
    with pytest.raises(InvariantError, match="numbered 1 after 1"):
        pipeline.appended(1, [2])
    with pytest.raises(InvariantError, match="not asked for"):
        pipeline.applied(1, 1, persistent({}))
    assert pipeline.published.version == 0
    assert not any(client.answers for client in house.sent.values())


def test_a_second_verdict_of_one_shard_is_a_bug() -> None:
    house, pipeline = at_rest(shards=2)
    client = house.sent[1]
    slices = (*request_of(3, b"a").slices, *request_of(3, b"b", run=RUNS[-1]).slices)
    pipeline.commit(replace(request_of(3), slices=slices), client)
    pipeline.verdict(3, 0, Prepared())
    with pytest.raises(InvariantError, match="shard 0 judged transaction 3"):
        pipeline.verdict(3, 0, Prepared())


def test_a_commit_of_nothing_is_a_bug_and_not_a_hang() -> None:
    house, pipeline = at_rest(shards=2)
    with pytest.raises(InvariantError, match="did nothing"):
        pipeline.commit(CommitRequest(9, 0, (), (), True, 0, encode_operations([]), expires=False), house.sent[1])


def test_a_loser_that_gives_up_before_the_winner_is_published_is_told_why() -> None:
    house, pipeline = at_rest()
    lost_to = Refused((WriteConflict(Key.kv(RUNS[0], "b"), 0, 1),))
    pipeline.verdict(1, 0, Prepared())
    pipeline.appended(1, [1])
    pipeline.verdict(2, 0, lost_to)
    assert house.sent[2].answers == []
    assert pipeline.in_flight == 2
    pipeline.check()
    house.sent[2].cancelled_in_time = True
    pipeline.cancel(2, TransactionTimeoutError(1.0))
    assert house.sent[2].answers == ["cancelled"]
    assert pipeline.in_flight == 1


def test_check_notices_a_loser_that_waits_for_what_never_comes() -> None:
    _, pipeline = at_rest()
    pipeline.verdict(2, 0, Refused((WriteConflict(Key.kv(RUNS[0], "b"), 0, 7),)))
    with pytest.raises(InvariantError, match="waits for version 7"):
        pipeline.check()


def test_check_notices_a_commit_in_two_stages() -> None:
    _, pipeline = at_rest()
    pipeline._appending[1] = pipeline._validating[1]
    with pytest.raises(InvariantError, match="two stages"):
        pipeline.check()


class PublishesBeforeAllShardsHaveApplied(CommitPipeline[Client]):
    def applied(self, shard: int, batch_version: int, root) -> None:
        batch = self._applying.get(batch_version)
        if batch is not None:
            batch.awaited.intersection_update({shard})
            super().applied(shard, batch_version, root)


class AppendsOutOfOrder(CommitPipeline[Client]):
    def _append_ready(self) -> None:
        for transaction_id, in_flight in list(self._validating.items()):
            if len(in_flight.verdicts) == len(in_flight.parts) and in_flight.cancelled is None:
                self._validating.move_to_end(transaction_id, last=False)
                super()._append_ready()


class AnswersBeforeItPublishes(CommitPipeline[Client]):
    def _publish(self, version: int, batch: Batch[Client]) -> None:
        for in_flight, commit_version in batch.commits:
            self._out.committed(in_flight.reply, in_flight.request, commit_version)
        batch.commits.clear()
        super()._publish(version, batch)


class RefusesBeforeTheWinnerIsPublished(CommitPipeline[Client]):
    def verdict(self, transaction_id: int, shard: int, verdict: Verdict) -> None:
        super().verdict(transaction_id, shard, verdict)
        for loser, _, conflicts in self._losers.values():
            self._out.refused(loser.reply, loser.request, conflicts)
        self._losers.clear()


class ForgetsTheWaiters(CommitPipeline[Client]):
    def append_refused(self, transaction_ids, error: Exception) -> None:
        waiters, self._waiters = self._waiters, {}
        super().append_refused(transaction_ids, error)
        self._waiters = waiters

    def check(self) -> None:
        pass


class CommitsWhatWasCancelled(CommitPipeline[Client]):
    def cancel(self, transaction_id: int, error: Exception) -> None:
        if transaction_id not in self._validating:
            super().cancel(transaction_id, error)


class ValidatesWithoutPreparedWrites(Shard):
    def _blockers(self, part: Part):
        return iter(())

    def _unreserve(self, part: Part) -> None:
        for part_slice in part.slices:
            for key, _, _ in part_slice.writes:
                self._prepared_keys.pop((*part_slice.table_id, key), None)

    def check(self) -> None:
        pass


class ForgetsDroppedRuns(Shard):
    def _note_dropped(self, run: str, version: int) -> None:
        pass


class TrustsBlindWrites(Shard):
    def _conflicts(self, part: Part):
        return (conflict for conflict in super()._conflicts(part) if not isinstance(conflict, WriteConflict))


class ReleasesAllShardsButOne(House):
    def release(self, shard: int, transaction_id: int) -> None:
        if shard:
            super().release(shard, transaction_id)


class RepliesTwice(House):
    def committed(self, reply: Client, request: CommitRequest, version: int) -> None:
        super().committed(reply, request, version)
        if version % 10 == 0:
            super().committed(reply, request, version)


def with_pipeline(planted: type[CommitPipeline[Client]]) -> type[House]:
    return type(planted.__name__, (House,), {"pipeline_class": planted})


def with_shard(planted: type[Shard]) -> type[House]:
    return type(planted.__name__, (House,), {"shard_class": planted})


@pytest.mark.parametrize(
    ("house_class", "seeds"),
    [
        (with_pipeline(PublishesBeforeAllShardsHaveApplied), 10),
        (with_pipeline(AppendsOutOfOrder), 100),
        (with_pipeline(AnswersBeforeItPublishes), 2),
        (with_pipeline(RefusesBeforeTheWinnerIsPublished), 40),
        (with_pipeline(ForgetsTheWaiters), 10),
        (with_pipeline(CommitsWhatWasCancelled), 10),
        (with_shard(ValidatesWithoutPreparedWrites), 10),
        (with_shard(ForgetsDroppedRuns), 20),
        (with_shard(TrustsBlindWrites), 10),
        (ReleasesAllShardsButOne, 10),
        (RepliesTwice, 10),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_planted_bug_is_found(house_class: type[House], seeds: int) -> None:
    for seed in range(seeds):
        try:
            house_class(seed).run()
        except (AssertionError, InvariantError):
            return
    pytest.fail(f"not found within {seeds} seeds")
