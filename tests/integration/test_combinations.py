"""Every combination of primitives in one transaction, whatever becomes of it, in every kind of store.

Each case works on two runs at once: one that is new, and one that holds something in all five primitives. What each
primitive must show is written down here in plain values.
"""

from itertools import combinations, count

import pytest

import inmem
from inmem import ConflictError, RunStatus, Thought, ToolCall
from inmem.engine.keys import shard_of
from tests.integration.five import (
    PRIMITIVE_OF,
    PRIMITIVES,
    Content,
    Registered,
    Step,
    counts_of,
    expect_everywhere,
    tables_of,
)

SUBSETS = [subset for size in range(6) for subset in combinations(PRIMITIVES, size)]

STORES = {
    "memory": {},
    "disk": {},
    "threads": {"dispatcher": "threads"},
    "shards": {"shards": 3},
    "reopened": {"shards": 2},
}

numbers = count()


class Store:
    """A database and, for one kind of it, what may lie between a commit and looking at it."""

    def __init__(self, kind, folder):
        self.path = folder if kind in ("disk", "reopened") else ":memory:"
        self.options = STORES[kind]
        self.reopens = kind == "reopened"
        self.db = inmem.open(self.path, **self.options)

    def settle(self):
        if self.reopens:
            self.db.close()
            self.db = inmem.open(self.path, **self.options)
        return self.db


@pytest.fixture(params=STORES, scope="module")
def store(request, tmp_path_factory):
    opened = Store(request.param, tmp_path_factory.mktemp(request.param))
    yield opened
    assert opened.db.verify().is_valid
    with opened.db.begin("any") as txn:
        txn.runs.check()
    opened.db.close()


@pytest.fixture
def run_ids():
    """An old run and a new one, on different shards wherever there are three, and not on that of the RunIndex."""
    number = next(numbers)
    names = [f"run-{number}-{at}" for at in range(100)]
    return tuple(next(name for name in names if shard_of(name, 3) == shard) for shard in (1, 2))


def prepare(on, run):
    on.kv.put("old", 0)
    on.kv.put("gone", 1)
    on.events.append("begun", 0)
    on.cells.init("phase", 0)
    on.cells.init("lost", 1)
    on.traces.record_with_options(Thought("first"), id="first", tags=("early",))
    on.runs.create_run(run, tags=("old",))


PREPARED = Content(
    kv={"old": 0, "gone": 1},
    events=[("begun", 0)],
    cells={"phase": (0, 1), "lost": (1, 1)},
    traces={"first": Step(Thought("first"), tags=("early",))},
    runs=Registered(tags=("old",)),
)

PREPARED_COUNTS = {
    "KV": (2, 0),
    "EVENT": (1, 0),
    "EVENT_INDEX": (1, 0),
    "STATE": (2, 0),
    "TRACE": (1, 0),
    "TRACE_INDEX": (4, 0),
    "RUN": (1, 0),
    "RUN_INDEX": (1, 0),
    "RUN_ACTIVE": (1, 0),
}
"""(live entries, tombstones): a trace has one index entry in order, one by place, one by type, one for each tag."""


def change(on, run, subset, who):
    """Use each primitive of `subset`, and no other, on a run that was prepared."""
    if "kv" in subset:
        on.kv.put("old", who)
        on.kv.put("new", [who])
        assert on.kv.delete("gone")
    if "events" in subset:
        on.events.append("step", who)
        on.events.append("begun", {"again": who})
    if "cells" in subset:
        assert on.cells.cas("phase", 1, who) == 2
        assert on.cells.delete("lost")
        assert on.cells.init("extra", who) == 1
    if "traces" in subset:
        on.traces.record_with_options(
            ToolCall("search", {"for": who}),
            id="second",
            parent_id="first",
            tags=("late", "early"),
            metadata={"by": who},
        )
    if "runs" in subset:
        on.runs.add_tags(run, [who])
        on.runs.update_metadata(run, {"by": who})
        on.runs.pause_run(run)


def changed(who):
    return Content(
        kv={"old": who, "new": [who]},
        events=[("begun", 0), ("step", who), ("begun", {"again": who})],
        cells={"phase": (who, 2), "extra": (who, 1)},
        traces={
            "first": Step(Thought("first"), tags=("early",)),
            "second": Step(ToolCall("search", {"for": who}), "first", ("late", "early"), {"by": who}),
        },
        runs=Registered(RunStatus.PAUSED, tags=("old", who), metadata={"by": who}),
    )


CHANGED_COUNTS = {
    "KV": (2, 1),
    "EVENT": (3, 0),
    "EVENT_INDEX": (3, 0),
    # A deleted cell keeps its record, so that its versions go on.
    "STATE": (3, 0),
    "TRACE": (2, 0),
    "TRACE_INDEX": (9, 0),
    "RUN": (1, 0),
    "RUN_INDEX": (2, 0),
    "RUN_ACTIVE": (0, 1),
    "RUN_PAUSED": (1, 0),
}


def start(on, run, subset, who, parent):
    """Use each primitive of `subset`, and no other, on a run that there has not been before."""
    if "kv" in subset:
        on.kv.put("new", who)
    if "events" in subset:
        on.events.append("step", who)
    if "cells" in subset:
        assert on.cells.init("phase", who) == 1
    if "traces" in subset:
        on.traces.record_with_options(Thought(who), id="first", tags=(who,))
    if "runs" in subset:
        on.runs.create_run(run, parent=parent, tags=[who])


def started(who, parent):
    return Content(
        kv={"new": who},
        events=[("step", who)],
        cells={"phase": (who, 1)},
        traces={"first": Step(Thought(who), tags=(who,))},
        runs=Registered(parent=parent, tags=(who,)),
    )


STARTED_COUNTS = {
    "KV": (1, 0),
    "EVENT": (1, 0),
    "EVENT_INDEX": (1, 0),
    "STATE": (1, 0),
    "TRACE": (1, 0),
    "TRACE_INDEX": (4, 0),
    "RUN": (1, 0),
    "RUN_INDEX": (2, 0),
    "RUN_ACTIVE": (1, 0),
}


def mixed(subset, inside, outside):
    """Return `inside`'s content for the primitives of `subset`, and `outside`'s for the others."""
    return Content(**{name: getattr(inside if name in subset else outside, name) for name in PRIMITIVES})


def mixed_counts(subset, inside, outside):
    chosen = {name: count for name, count in inside.items() if PRIMITIVE_OF[name] in subset}
    return chosen | {name: count for name, count in outside.items() if PRIMITIVE_OF[name] not in subset}


class Stop(Exception):  # noqa: N818  (it is no error)
    pass


def perform(db, subset, outcome, old, new):
    """Work on both runs in one transaction that ends in `outcome`; return who has committed, or None."""

    def work(txn, who):
        change(txn, old, subset, who)
        start(txn.on(new), new, subset, who, old)

    if outcome == "exception":

        def fails(txn):
            work(txn, "mine")
            raise Stop

        with pytest.raises(Stop):
            db.transaction(old, fails)
        return None

    mine = db.begin(old)
    work(mine, "mine")
    if outcome == "abort":
        mine.abort()
        return None
    if outcome == "commit" or not subset:
        assert mine.commit() == mine.start_version + bool(subset)
        return "mine"

    db.transaction(old, lambda txn: work(txn, "rival"))
    with pytest.raises(ConflictError) as refused:
        mine.commit()
    found = {(conflict.key.run_id, PRIMITIVE_OF[conflict.key.tag.name]) for conflict in refused.value.conflicts}
    # All conflicts are told, of all primitives that were used; "" is where the entries of the RunIndex are.
    assert found - {("", "runs")} == {(run, name) for run in (old, new) for name in subset}
    assert ("", "runs") not in found or "runs" in subset
    return "rival"


@pytest.mark.unmeasured
@pytest.mark.parametrize("outcome", ["commit", "abort", "exception", "conflict"])
@pytest.mark.parametrize("subset", SUBSETS, ids=lambda subset: "+".join(subset) or "none")
def test_a_transaction_shows_in_exactly_the_primitives_that_it_used(store, run_ids, subset, outcome):
    old, new = run_ids
    db = store.db
    db.transaction(old, lambda txn: prepare(txn, old))
    prepared = tables_of(db, old)
    assert counts_of(prepared) == PREPARED_COUNTS
    version = db.version
    keys = db.stats().keys

    winner = perform(db, subset, outcome, old, new)
    db = store.settle()

    committed = subset if winner else ()
    who = winner or "nobody"
    assert db.version == version + bool(committed)
    expect_everywhere(db, old, mixed(committed, changed(who), PREPARED))
    expect_everywhere(db, new, mixed(committed, started(who, old), Content()))

    tables = tables_of(db, old)
    new_tables = tables_of(db, new)
    assert counts_of(tables) == mixed_counts(committed, CHANGED_COUNTS, PREPARED_COUNTS)
    assert counts_of(new_tables) == mixed_counts(committed, STARTED_COUNTS, {})
    assert db.stats().keys == keys - sum_live(prepared) + sum_live(tables) + sum_live(new_tables)
    for name, entries in tables.items():
        before = prepared.get(name, {})
        assert {entry[0] for key, entry in entries.items() if before.get(key) != entry} <= {version + 1}
        assert before.items() <= entries.items() or PRIMITIVE_OF[name] in committed
    assert {entry[0] for entries in new_tables.values() for entry in entries.values()} <= {version + 1}


def sum_live(tables):
    return sum(live for live, _ in counts_of(tables).values())


def test_the_matrix_has_every_combination():
    assert len(set(SUBSETS)) == 2**5
