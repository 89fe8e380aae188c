"""Attempts: when there is another one, after what pause, and that no pause outlasts the time that is left."""

import pytest

from inmem.engine.commits.attempts import Attempts, TimeLimit
from inmem.engine.commits.conflicts import ReadConflict
from inmem.engine.commits.retry import RetryPolicy
from inmem.engine.errors import ConflictError, RetriesExhaustedError, TransactionAbortedError
from inmem.engine.keys import Key

CONFLICT = ConflictError([ReadConflict(Key.kv("run", "k"), 1, 2)])
STEADY = RetryPolicy(max_retries=3, base_delay=1, max_delay=100, jitter=0)


def test_what_is_left_of_a_limit_is_never_less_than_nothing() -> None:
    limit = TimeLimit(timeout_s=5, deadline_s=105)
    assert [limit.remaining_s(now_s) for now_s in (100, 104.5, 105, 1000)] == [5, 0.5, 0, 0]


@pytest.mark.parametrize("failure", [CONFLICT, TransactionAbortedError("a restart")])
def test_each_attempt_is_followed_by_the_pause_of_its_number(failure) -> None:
    attempts = Attempts(STEADY, None)
    assert [(attempts.number, attempts.pause_s(failure, 0.0, 0.0)) for _ in range(3)] == [(0, 1), (1, 2), (2, 4)]


def test_the_random_number_is_that_of_the_jitter() -> None:
    attempts = Attempts(RetryPolicy(base_delay=1, max_delay=1, jitter=0.5), None)
    assert attempts.pause_s(CONFLICT, 0.5, 0.0) == 0.75


def test_after_the_last_one_a_conflict_is_counted_and_anything_else_is_raised_as_it_is() -> None:
    aborted = TransactionAbortedError("a restart")
    for failure, error in ((CONFLICT, RetriesExhaustedError), (aborted, TransactionAbortedError)):
        attempts = Attempts(RetryPolicy(max_retries=1), None)
        attempts.pause_s(failure, 0.0, 0.0)
        with pytest.raises(error) as caught:
            attempts.pause_s(failure, 0.0, 0.0)
        if failure is CONFLICT:
            assert (caught.value.attempts, caught.value.conflicts) == (2, CONFLICT.conflicts)
            assert caught.value.__cause__ is CONFLICT
        else:
            assert caught.value is aborted


def test_a_pause_ends_with_the_time_of_all_attempts() -> None:
    attempts = Attempts(STEADY, TimeLimit(timeout_s=10, deadline_s=110))
    assert [attempts.pause_s(CONFLICT, 0.0, now_s) for now_s in (100, 109.5, 200)] == [1, 0.5, 0]
