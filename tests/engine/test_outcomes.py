"""Outcomes against the full list of commits: what is remembered is right, and what is forgotten is known to be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inmem.engine import outcomes as outcomes_module
from inmem.engine.outcomes import Outcomes

BOUND = 4


@pytest.fixture(autouse=True, scope="module")
def small_bound():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outcomes_module, "OUTCOMES_MAX", BOUND)
        yield


@given(
    before=st.integers(0, BOUND),
    commits=st.lists(st.tuples(st.sampled_from([1, 2]), st.integers(1, 3)), min_size=BOUND, max_size=20),
    asked=st.integers(0, 60),
)
def test_the_newest_commits_are_known_and_since_tells_from_where_on(before, commits, asked) -> None:
    # Transaction ids start again in each opening: only salt and id together name a commit.
    next_id = {1: 0, 2: 0}
    since = version = 10
    history: list[tuple[int, int, int]] = []
    for salt, gap in commits:
        next_id[salt] += 1
        version += gap
        history.append((salt, next_id[salt], version))
    outcomes = Outcomes({(salt, txn): at for salt, txn, at in history[:before]}, since)
    for count in range(before, len(history) + 1):
        if count > before:
            outcomes.record(*history[count - 1])
        forgotten, remembered = history[: max(0, count - BOUND)], history[max(0, count - BOUND) : count]
        assert outcomes.since == (forgotten[-1][2] if forgotten else since)
        assert all(outcomes.version_of(salt, txn) == at for salt, txn, at in remembered)
        assert all(outcomes.version_of(salt, txn) is None for salt, txn, _ in forgotten)
        assert outcomes.up_to(asked) == {(salt, txn): at for salt, txn, at in remembered if at <= asked}
        assert list(outcomes.up_to(version).values()) == [at for _, _, at in remembered]


def test_the_same_transaction_id_under_another_salt_is_another_transaction() -> None:
    outcomes = Outcomes({(1, 5): 3}, 0)
    outcomes.record(2, 5, 4)
    assert (outcomes.version_of(1, 5), outcomes.version_of(2, 5), outcomes.version_of(3, 5)) == (3, 4, None)
