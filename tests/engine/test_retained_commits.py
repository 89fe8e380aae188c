"""The window of newest commits, against a list that forgets nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inmem.engine import retained_commits
from inmem.engine.errors import InvariantError, WatchLaggedError
from inmem.engine.retained_commits import ENTRY_BYTES, RetainedCommits

BOUND = 1_000
commits = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 700)), max_size=40)


@pytest.fixture(autouse=True, scope="module")
def small_bound():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retained_commits, "RETAINED_BYTES_MAX", BOUND)
        yield


def filled(begin, steps):
    """Return a window, and everything that was ever added to it: versions may be skipped, records have any size."""
    window = RetainedCommits(begin)
    model = []
    version = begin
    for step, size in steps:
        version += step
        window.add(version, bytes(size))
        window.check()
        model.append((version, bytes(size)))
    return window, model


def size_of(kept):
    return sum(len(record) + ENTRY_BYTES for _, record in kept)


@given(st.integers(0, 5), commits)
def test_it_holds_the_newest_that_fit_and_at_least_one(begin, steps):
    window, model = filled(begin, steps)
    kept = [commit for commit in model if commit[0] > window.since]
    assert len(window) == len(kept)
    assert len(kept) <= 1 or size_of(kept) <= BOUND
    gone = model[: len(model) - len(kept)]
    if gone:
        assert size_of([gone[-1], *kept]) > BOUND, "nothing is let go that would have fitted"
        assert window.since == gone[-1][0]


@given(st.integers(0, 5), commits)
def test_from_any_place_comes_the_next_commit_or_the_news_that_it_is_gone(begin, steps):
    window, model = filled(begin, steps)
    for place in range(begin, window.version + 2):
        following = [commit for commit in model if commit[0] > place]
        if following and following[0][0] <= window.since:
            with pytest.raises(WatchLaggedError) as caught:
                window.after(place)
            assert (caught.value.version, caught.value.since) == (place, window.since)
        else:
            assert window.after(place) == (following[0] if following else None)


@given(commits, commits)
def test_two_windows_on_one_history_make_one(early, late):
    one, model = filled(0, early)
    other = RetainedCommits(0)
    for version, record in model:
        other.add(version, record)
    version = one.version
    for step, size in late:
        version += step
        other.add(version, bytes(size))
    if other.since > one.version:
        return
    one.add_newer(other)
    one.check()
    assert one.version == other.version
    place = max(one.since, other.since)
    while (found := other.after(place)) is not None:
        assert one.after(place) == found
        place = found[0]


def test_a_record_of_any_size_is_kept_until_there_is_a_newer_one():
    window = RetainedCommits(0)
    window.add(1, bytes(10 * BOUND))
    assert window.after(0) == (1, bytes(10 * BOUND))
    window.add(2, b"")
    with pytest.raises(WatchLaggedError):
        window.after(0)
    assert window.after(1) == (2, b"")


def damaged(**attributes):
    """A window with the commits 3 and 4, and then with what is said."""
    window = RetainedCommits(2)
    window.add(3, b"three")
    window.add(4, b"four")
    window.check()
    for name, value in attributes.items():
        setattr(window, name, value)
    return window


@pytest.mark.parametrize(
    ("window", "complaint"),
    [
        (damaged(_records={4: b"four", 3: b"three"}), "another order"),
        (damaged(since=3), r"the window \(3, 4\] does not hold what is kept"),
        (damaged(version=3), r"the window \(2, 3\] does not hold what is kept"),
        (damaged(_size_bytes=0), f"{2 * ENTRY_BYTES + 9} bytes are kept, 0 were counted"),
        (damaged(_records={3: bytes(BOUND), 4: b""}, _size_bytes=BOUND + 2 * ENTRY_BYTES), "bytes are kept"),
    ],
)
def test_check_finds_damage(window, complaint):
    with pytest.raises(InvariantError, match=complaint):
        window.check()
