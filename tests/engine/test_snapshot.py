"""Snapshot: tables are found by run and tag on any number of shards; older ones never change."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from inmem.engine.errors import InvariantError
from inmem.engine.keys import Key, Tag, shard_of
from inmem.engine.tables.entry import Entry
from inmem.engine.tables.persistent_map import persistent
from inmem.engine.tables.snapshot import Snapshot, TableId
from inmem.engine.tables.table import Table

RUNS = st.sampled_from(["", "a", "a\0", "b", "ab", "\uffff", "\U0001f600", "run-7"])
TAGS = st.sampled_from([Tag.KV, Tag.EVENT, Tag.STATE])
SHARDS = st.integers(1, 4)

Model = dict[TableId, dict[bytes, Entry]]


class SnapshotMachine(RuleBasedStateMachine):
    """Publishes a snapshot per commit and compares all of them with their models."""

    shards = 1

    def __init__(self) -> None:
        super().__init__()
        self.published: list[tuple[Snapshot, Model]] = []

    @initialize(shards=SHARDS)
    def start(self, shards: int) -> None:
        self.published.append((Snapshot.empty(shards), {}))

    def publish(self, table_id: TableId, table: Table | None, model: Model) -> None:
        snapshot, _ = self.published[-1]
        roots = list(snapshot.roots)
        shard = shard_of(table_id[0], len(roots))
        root = roots[shard]
        roots[shard] = root.changed({} if table is None else {table_id: table}, {table_id: root.stored(table_id)})
        self.published.append((Snapshot(snapshot.version + 1, tuple(roots)), model))

    @rule(run=RUNS, tag=TAGS, key=st.binary(max_size=1))
    def write(self, run: str, tag: Tag, key: bytes) -> None:
        snapshot, model = self.published[-1]
        version = snapshot.version + 1
        table = (snapshot.table(run, tag) or Table.EMPTY).apply([(key, b"v", 0)], version)
        entries = {**model.get((run, tag), {}), key: (version, b"v", 0)}
        self.publish((run, tag), table, {**model, (run, tag): entries})

    @rule(run=RUNS, tag=TAGS)
    def drop(self, run: str, tag: Tag) -> None:
        snapshot, model = self.published[-1]
        if snapshot.table(run, tag) is not None:
            remaining = {name: table for name, table in model.items() if name != (run, tag)}
            self.publish((run, tag), None, remaining)

    @rule(run=RUNS, tag=TAGS)
    def look_up(self, run: str, tag: Tag) -> None:
        snapshot, model = self.published[-1]
        table = snapshot.table(run, tag)
        assert (None if table is None else dict(table.range())) == model.get((run, tag))

    @invariant()
    def newest_is_sound(self) -> None:
        for snapshot, _ in self.published[-1:]:
            snapshot.check()

    def teardown(self) -> None:
        for snapshot, model in self.published:
            snapshot.check()
            found = {(run, tag): dict(table.range()) for run, tag, table in snapshot.tables()}
            assert found == model


TestSnapshotMachine = SnapshotMachine.TestCase
TestSnapshotMachine.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)


@given(st.sets(st.tuples(RUNS, TAGS)), SHARDS)
def test_tables_come_in_the_order_of_encoded_keys(ids: set[tuple[str, Tag]], shards: int) -> None:
    roots: list[dict[TableId, Table]] = [{} for _ in range(shards)]
    for run, tag in ids:
        roots[shard_of(run, shards)][run, tag] = Table.EMPTY
    listed = [(run, tag) for run, tag, _ in Snapshot(0, tuple(map(persistent, roots))).tables()]
    assert listed == sorted(ids, key=lambda table_id: Key(table_id[0], table_id[1], b"").encode())


def test_a_plain_integer_finds_the_table_of_a_tag() -> None:
    table = Table.EMPTY.apply([(b"k", b"v", 0)], 1)
    snapshot = Snapshot(1, (persistent({("run", Tag.KV): table}),))
    assert snapshot.table("run", 0x01) is table
    assert snapshot.table("run", Tag.EVENT) is None


def wrong_shard() -> Snapshot:
    roots: list[dict[TableId, Table]] = [{}, {}]
    roots[1 - shard_of("run", 2)]["run", 1] = Table.EMPTY
    return Snapshot(0, tuple(map(persistent, roots)))


@pytest.mark.parametrize(
    ("damaged", "complaint"),
    [
        (Snapshot(0, ()), "without shards"),
        (wrong_shard(), "of shard"),
        (Snapshot(0, (persistent({("run", 1): Table.EMPTY.apply([(b"k", b"v", 0)], 1)}),)), "past 0"),
        (Snapshot(0, (persistent({("run", 1): Table.of({}, Table.EMPTY.keys, 1, 0)}),)), "live keys"),
    ],
)
def test_check_finds_damage(damaged: Snapshot, complaint: str) -> None:
    with pytest.raises(InvariantError, match=complaint):
        damaged.check()
