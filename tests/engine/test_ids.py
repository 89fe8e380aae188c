"""Time-ordered ids against the field layout of RFC 9562 and the uuid module."""

import uuid
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from inmem.engine.ids import time_ordered_id
from tests.engine.seeded_entropy import SeededEntropy

TIMES = st.integers(0, 2**48 * 1000 - 1)


@dataclass
class Constant:
    """Every bit the same: the least or the greatest id of a moment."""

    bit: int

    def bits(self, count: int) -> int:
        return (2**count - 1) * self.bit

    def uniform(self) -> float:
        return 0.0


@given(TIMES, st.integers(0, 2**32))
def test_an_id_is_a_uuid_of_version_7_that_carries_its_time(now_us: int, seed: int) -> None:
    text = time_ordered_id(now_us, SeededEntropy(seed))
    parsed = uuid.UUID(text)
    assert str(parsed) == text
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == now_us // 1000
    assert (parsed.int >> 66) & 0x3FF == now_us % 1000


@given(TIMES, st.integers(1, 10**9))
def test_a_later_microsecond_sorts_later_whatever_the_random_bits(now_us: int, step: int) -> None:
    later = min(now_us + step, 2**48 * 1000 - 1)
    if later > now_us:
        assert time_ordered_id(now_us, Constant(1)) < time_ordered_id(later, Constant(0))


def test_all_random_bits_reach_the_id() -> None:
    low, high = (uuid.UUID(time_ordered_id(0, Constant(bit))).int for bit in (0, 1))
    assert (low ^ high).bit_count() == 64


def test_ids_of_one_moment_differ() -> None:
    entropy = SeededEntropy()
    assert len({time_ordered_id(1_700_000_000_000_000, entropy) for _ in range(10_000)}) == 10_000
