"""The reaper's list against a plain dict."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from inmem.engine.errors import InvariantError
from inmem.engine.keys import Tag
from inmem.engine.tables.deadlines import Deadlines
from inmem.engine.tables.persistent_map import persistent
from inmem.engine.tables.snapshot import Snapshot
from inmem.engine.tables.table import Table

TIMES = st.integers(1, 20)
KEYS = st.tuples(st.sampled_from(["r", "s"]), st.sampled_from([b"", b"a", b"b"]))


def snapshot_of(entries):
    tables = {}
    for (run, key), entry in entries.items():
        tables.setdefault((run, int(Tag.KV)), {})[key] = entry
    return Snapshot(3, (persistent({table_id: Table.build(entries) for table_id, entries in tables.items()}),))


class Machine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.deadlines = Deadlines()
        self.model = {}
        self.seen = [(1, "r", b"never noted")]

    @rule(noted=st.lists(st.tuples(TIMES, KEYS), max_size=4))
    def note(self, noted):
        entries = [(time_us, *key) for time_us, key in noted]
        self.deadlines.note(entries)
        self.seen += entries
        self.model |= {key: time_us for time_us, key in noted}

    @rule(now_us=TIMES, limit=st.integers(0, 4))
    def due(self, now_us, limit):
        expected = sorted((time_us, *key) for key, time_us in self.model.items() if time_us <= now_us)[:limit]
        assert self.deadlines.due(now_us, limit) == expected

    @rule(time_us=TIMES, key=KEYS, limit=st.integers(0, 4))
    def after(self, time_us, key, limit):
        expected = sorted(entry for entry in self.in_order() if entry > (time_us, *key))[:limit]
        assert self.deadlines.after((time_us, *key), limit) == expected

    @precondition(lambda self: self.model)
    @rule(
        data=st.data(),
        entries=st.dictionaries(KEYS, st.sampled_from([(3, b"v", 0), (3, None, 0), (3, None, 5), (3, b"v", 7)])),
    )
    def reconcile(self, data, entries):
        """Some deadlines with a snapshot in which keys have none, another, are deleted, or have never been."""
        some = data.draw(st.lists(st.sampled_from(self.in_order()), max_size=4))
        self.deadlines.reconcile(some, snapshot_of(entries))
        for _, *key in some:
            _, value, expires_at_us = entries.get(tuple(key), (0, None, 0))
            if value is not None and expires_at_us:
                self.model[tuple(key)] = expires_at_us
            else:
                self.model.pop(tuple(key), None)

    def in_order(self):
        return sorted((time_us, *key) for key, time_us in self.model.items())

    @rule(data=st.data())
    def forget(self, data):
        entries = data.draw(st.lists(st.sampled_from(self.seen), max_size=4))
        self.deadlines.forget(entries)
        for time_us, *key in entries:
            if self.model.get(tuple(key)) == time_us:
                del self.model[tuple(key)]

    @invariant()
    def agrees(self):
        self.deadlines.check()
        assert len(self.deadlines) == len(self.model)
        assert self.deadlines.first_us() == min(self.model.values(), default=None)


TestDeadlines = Machine.TestCase


@pytest.mark.parametrize(
    "damage",
    [
        lambda deadlines: deadlines._ordered.add((1, "r", b"a")),
        lambda deadlines: deadlines._ordered.clear(),
        lambda deadlines: deadlines._of_key.pop(("r", b"a")),
        lambda deadlines: deadlines._of_key.update({("r", b"a"): 1}),
    ],
    ids=["a key twice", "a key in no order", "a key that is not known", "another time"],
)
def test_check_finds_damage(damage):
    deadlines = Deadlines()
    deadlines.note([(2, "r", b"a"), (3, "s", b"a")])
    deadlines.check()
    damage(deadlines)
    with pytest.raises(InvariantError, match="not those of the keys"):
        deadlines.check()
