"""RetryPolicy: how its pauses grow, how they scatter, and what it does not accept."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inmem.engine.commits.retry import RetryPolicy
from inmem.engine.errors import UsageError

ATTEMPTS = st.integers(0, 5_000)
DELAYS = st.floats(0, 1e6)
UNIFORM = st.floats(0, 1, exclude_max=True)


def test_pauses_double_up_to_the_greatest() -> None:
    policy = RetryPolicy(base_delay=0.001, max_delay=0.01, jitter=0)
    assert [policy.delay_s(attempt, 0.9) for attempt in range(6)] == [0.001, 0.002, 0.004, 0.008, 0.01, 0.01]


def test_jitter_takes_its_fraction_off() -> None:
    policy = RetryPolicy(base_delay=1.0, max_delay=1.0, jitter=0.5)
    assert [policy.delay_s(0, uniform) for uniform in (0.0, 0.5)] == [1.0, 0.75]
    assert RetryPolicy(base_delay=1.0, max_delay=1.0, jitter=1).delay_s(0, 0.75) == 0.25


@given(DELAYS, DELAYS, st.floats(0, 1), ATTEMPTS, UNIFORM)
def test_a_pause_is_never_negative_nor_longer_than_the_greatest(a, b, jitter, attempt, uniform) -> None:
    policy = RetryPolicy(base_delay=min(a, b), max_delay=max(a, b), jitter=jitter)
    full = policy.delay_s(attempt, 0.0)
    assert 0 <= policy.delay_s(attempt, uniform) <= full <= policy.max_delay
    assert full <= policy.delay_s(attempt + 1, 0.0)


@given(ATTEMPTS, UNIFORM)
def test_without_a_base_there_is_no_pause_however_many_attempts(attempt: int, uniform: float) -> None:
    assert RetryPolicy(base_delay=0).delay_s(attempt, uniform) == 0


def test_the_tiniest_base_still_reaches_the_greatest_pause() -> None:
    assert RetryPolicy(base_delay=1e-300, max_delay=0.1).delay_s(5_000, 0.0) == 0.1


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_retries": -1},
        {"base_delay": -0.001},
        {"base_delay": 0.2, "max_delay": 0.1},
        {"base_delay": math.nan},
        {"max_delay": math.nan},
        {"max_delay": math.inf},
        {"jitter": -0.1},
        {"jitter": 1.1},
        {"jitter": math.nan},
    ],
    ids=str,
)
def test_a_policy_that_makes_no_sense_is_refused(arguments) -> None:
    with pytest.raises(UsageError):
        RetryPolicy(**arguments)


def test_no_retries_and_no_jitter_are_policies() -> None:
    assert RetryPolicy(max_retries=0, base_delay=0, max_delay=0, jitter=0).delay_s(0, 0.5) == 0
