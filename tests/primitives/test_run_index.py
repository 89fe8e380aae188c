from hypothesis import given
from hypothesis import strategies as st

from inmem.engine.commits.transaction import Isolation
from inmem.engine.keys import Tag
from inmem.primitives.run_index import EntryRange, intersection, union
from tests.primitives.store import Store

suffixes = st.binary(max_size=2)
PREFIXES = [b"\x01", b"\x01\x00", b"\x02", b"\xff"]


@given(
    st.lists(st.tuples(st.sampled_from(PREFIXES), st.sets(suffixes, max_size=12)), min_size=1, max_size=4),
    suffixes,
    st.none() | suffixes,
    st.booleans(),
)
def test_an_intersection_has_what_all_ranges_have(contents, low, high, committed):
    store = Store()
    txn = store.begin()
    ranges = []
    for number, (prefix, found) in enumerate(contents):
        for suffix in found:
            txn.view(str(number), Tag.RUN_INDEX).put(prefix + suffix, b"")
    if committed:
        store.commit(txn)
        txn = store.begin()
    ranges = [EntryRange(txn.view(str(number), Tag.RUN_INDEX), prefix) for number, (prefix, _) in enumerate(contents)]
    common = set.intersection(*[found for _, found in contents])
    expected = sorted(suffix for suffix in common if suffix >= low and (high is None or suffix < high))
    assert list(intersection(ranges, low, high)) == expected


def test_an_intersection_reads_little_of_a_large_range():
    store = Store()
    with store.transaction() as txn:
        for number in range(1000):
            txn.view("large", Tag.RUN_INDEX).put(number.to_bytes(2, "big"), b"")
        txn.view("small", Tag.RUN_INDEX).put((500).to_bytes(2, "big"), b"")
    txn = store.begin()
    large, small = (EntryRange(txn.view(run, Tag.RUN_INDEX), b"") for run in ("large", "small"))
    assert list(intersection([large, small], b"", None)) == [(500).to_bytes(2, "big")]
    assert len(large.view.slice().reads) <= 3


def test_the_start_of_a_union_costs_only_the_start():
    store = Store()
    with store.transaction() as txn:
        for number in range(100):
            txn.view(str(number % 2), Tag.RUN_INDEX).put(bytes([number]), b"")
    txn = store.begin(Isolation.SERIALIZABLE)
    ranges = [EntryRange(txn.view(run, Tag.RUN_INDEX), b"") for run in ("0", "1")]
    found = union(ranges, b"\x10", b"\x20")
    assert [next(found) for _ in range(3)] == [b"\x10", b"\x11", b"\x12"]
    assert sum(len(entry_range.view.slice().reads) for entry_range in ranges) <= 5
    assert list(found) == [bytes([number]) for number in range(0x13, 0x20)]
