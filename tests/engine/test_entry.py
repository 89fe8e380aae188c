"""An entry comes back from the form in which tables keep it as it went in, whichever of the two forms that is."""

from __future__ import annotations

import sys
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from inmem.engine.codec import encode_value
from inmem.engine.tables.entry import (
    PACKED_VALUE_BYTES_MAX,
    VALUE,
    Entry,
    deadline_of,
    entry_of,
    is_live,
    stored_entry,
    version_of,
)

LARGEST = 2**64 - 1
ENTRIES = st.tuples(
    st.integers(1, LARGEST), st.none() | st.binary(max_size=PACKED_VALUE_BYTES_MAX + 2), st.integers(0, LARGEST)
)


@given(ENTRIES)
@example((1, b"", 0))
@example((LARGEST, b"x" * PACKED_VALUE_BYTES_MAX, 0))
@example((LARGEST, b"x" * (PACKED_VALUE_BYTES_MAX + 1), LARGEST))
def test_an_entry_comes_back_as_it_was(entry: Entry) -> None:
    stored = stored_entry(*entry)
    assert entry_of(stored) == entry
    assert type(entry_of(stored)) is tuple
    assert (version_of(stored), deadline_of(stored)) == (entry[0], entry[2])
    assert is_live(stored) == (entry[1] is not None)
    # Both forms are entries, so that what was never packed can be kept too.
    assert (entry_of(entry), version_of(entry), deadline_of(entry)) == (entry, entry[0], entry[2])
    assert is_live(entry) == (entry[1] is not None)


def test_what_has_never_existed_has_version_0() -> None:
    assert version_of(None) == 0


@pytest.mark.parametrize("size", [0, 1, 100, PACKED_VALUE_BYTES_MAX])
def test_a_small_value_that_never_expires_takes_8_bytes_more_than_the_value(size: int) -> None:
    value = b"v" * size
    stored = stored_entry(12345, value, 0)
    assert isinstance(stored, bytes)
    assert stored[VALUE] == value
    assert sys.getsizeof(stored) == sys.getsizeof(value) + 8


@pytest.mark.parametrize("entry", [(5, None, 0), (5, b"x", 9), (5, b"x" * (PACKED_VALUE_BYTES_MAX + 1), 0)])
def test_other_entries_are_tuples(entry: Entry) -> None:
    assert stored_entry(*entry) == entry


@pytest.mark.parametrize(("size", "expires_at_us"), [(20, 9), (2_000, 0), (100_000, 0)])
def test_a_value_takes_no_more_memory_than_its_bytes(size: int, expires_at_us: int) -> None:
    """The buffer in which it was encoded may be half as long again."""
    value = encode_value("v" * size)
    tracemalloc.start()
    try:
        stored = stored_entry(5, value, expires_at_us)
        taken_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert stored == (5, value, expires_at_us)
    assert stored[1] is not value
    assert len(value) <= taken_bytes < len(value) + 200
