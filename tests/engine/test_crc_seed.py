from zlib import crc32

from hypothesis import given
from hypothesis import strategies as st

from inmem.engine.log.crc_seed import seed_of

CHECKSUMS = st.integers(0, 2**32 - 1)


@given(st.binary(max_size=300), CHECKSUMS)
def test_the_beginning_of_a_checksum_is_found_again(data, seed):
    assert seed_of(data, crc32(data, seed)) == seed


@given(st.binary(max_size=300), CHECKSUMS)
def test_for_any_checksum_there_is_a_beginning(data, checksum):
    assert crc32(data, seed_of(data, checksum)) == checksum


def test_of_long_data():
    data = bytes(range(256)) * 4096
    assert seed_of(data, crc32(data, 0xDEADBEEF)) == 0xDEADBEEF
