from itertools import product
from pathlib import Path

import pytest

from inmem.engine.errors import InvalidStatusTransitionError, UsageError
from inmem.primitives.run_status import FINISHED, STATUS_TAGS, TRANSITIONS, RunStatus, status_of
from tests.primitives.store import Store

A, C, F, X, P, Z = (
    RunStatus.ACTIVE,
    RunStatus.COMPLETED,
    RunStatus.FAILED,
    RunStatus.CANCELLED,
    RunStatus.PAUSED,
    RunStatus.ARCHIVED,
)

# Written out once more, from the contract, so that the table cannot change unnoticed.
ALLOWED = {(A, C), (A, F), (A, X), (A, P), (A, Z), (P, A), (P, X), (P, Z), (C, Z), (F, Z), (X, Z)}

WAYS = {A: (), C: (C,), F: (F,), X: (X,), P: (P,), Z: (Z,)}


@pytest.mark.parametrize(("old", "new"), list(product(RunStatus, repeat=2)))
def test_every_pair_of_statuses(old, new):
    store = Store()
    with store.transaction() as txn:
        store.runs(txn).create_run("run", tags=["t"])
        for status in WAYS[old]:
            store.runs(txn).update_status("run", status)
    store.now_us += 10
    txn = store.begin()
    if (old, new) in ALLOWED:
        changed = store.runs(txn).update_status("run", new)
        assert (changed.status, changed.updated_at) == (new, store.now_us)
        assert store.runs(txn).get_run("run") == changed
    else:
        with pytest.raises(InvalidStatusTransitionError) as caught:
            store.runs(txn).update_status("run", new)
        assert (caught.value.from_status, caught.value.to_status) == (old, new)
        assert not txn.has_writes
    store.commit(txn)
    store.runs().check()


def test_the_table_is_complete():
    assert set(TRANSITIONS) == set(STATUS_TAGS) == set(RunStatus)
    assert {(old, new) for old, targets in TRANSITIONS.items() for new in targets} == ALLOWED
    assert frozenset({C, F, X}) == FINISHED
    assert len(set(STATUS_TAGS.values())) == len(RunStatus)


def test_values_are_the_names():
    assert [str(status) for status in RunStatus] == [
        "Active",
        "Completed",
        "Failed",
        "Cancelled",
        "Paused",
        "Archived",
    ]


def test_a_status_may_be_given_by_name():
    assert status_of("Paused") is RunStatus.PAUSED
    for unknown in ("paused", "", None, 1, [], {}):
        with pytest.raises(UsageError, match=r"^status: must be one of Active, "):
            status_of(unknown)
    with pytest.raises(UsageError, match=r", not 'PAUSED'; did you mean 'Paused'\?$"):
        status_of("PAUSED")
    with pytest.raises(UsageError, match=r", not 'pausing'$"):
        status_of("pausing")


def test_the_documentation_shows_the_table():
    page = Path(__file__).parents[2] / "docs" / "primitives" / "runs.md"
    width = max(map(len, RunStatus))
    diagram = "\n".join(f"{old:<{width}} ──▶ {', '.join(new) or 'nothing'}" for old, new in TRANSITIONS.items())
    assert diagram in page.read_text(encoding="utf-8")
