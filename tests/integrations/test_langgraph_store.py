"""InmemStore: what BaseStore promises, and what comes from being one transaction."""

import asyncio
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

import inmem

pytest.importorskip("langgraph.store.base", reason="the extra langgraph is not installed")

from hypothesis import given
from hypothesis import strategies as st
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.store.base import GetOp, InvalidNamespaceError, ListNamespacesOp, MatchCondition, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

from inmem.integrations.langgraph import InmemSaver, InmemStore, keys
from inmem.integrations.langgraph.filters import passes

RUN = "langgraph-store"


@pytest.fixture
def db():
    with inmem.open(":memory:") as database:
        yield database


def found(items):
    return [(item.namespace, item.key) for item in items]


def test_an_item_is_put_read_changed_and_deleted(db):
    store = InmemStore(db)
    store.put(("users", "ada"), "likes", {"seat": "aisle", "rows": (1, 2)})
    first = store.get(("users", "ada"), "likes")
    assert (first.value, first.key, first.namespace) == ({"seat": "aisle", "rows": [1, 2]}, "likes", ("users", "ada"))

    store.put(("users", "ada"), "likes", {"seat": "window"})
    second = store.get(("users", "ada"), "likes")
    assert (second.value, second.created_at) == ({"seat": "window"}, first.created_at)
    assert second.updated_at >= first.updated_at

    store.delete(("users", "ada"), "likes")
    assert store.get(("users", "ada"), "likes") is None
    assert store.get(("users",), "likes") is None
    assert db.runs.get_run(RUN).tags == ("langgraph-store",)


def test_a_value_that_cannot_be_stored_is_refused_and_the_batch_with_it(db):
    store = InmemStore(db)
    with pytest.raises(inmem.InvalidValueError):
        store.batch([PutOp(("a",), "1", {"fine": 1}), PutOp(("a",), "2", {"when": object()})])
    assert db.version == 0


def test_a_batch_is_one_commit_whose_reads_come_first_and_whose_last_put_counts(db):
    store = InmemStore(db)
    store.put(("a",), "k", {"n": 0})
    before = db.version
    results = store.batch(
        [
            PutOp(("a",), "k", {"n": 1}),
            GetOp(("a",), "k"),
            PutOp(("a",), "k", {"n": 2}),
            SearchOp(("a",)),
            PutOp(("b",), "gone", {"n": 1}),
            PutOp(("b",), "gone", None),
            ListNamespacesOp(),
        ]
    )
    assert [results[1].value, [item.value for item in results[3]], results[6]] == [{"n": 0}, [{"n": 0}], [("a",)]]
    assert store.get(("a",), "k").value == {"n": 2}
    assert store.get(("b",), "gone") is None
    assert db.version == before + 1


@pytest.mark.parametrize("value", [5, "text", [("a", 1)]])
def test_a_value_that_is_no_dict_is_refused_and_the_batch_with_it(db, value):
    store = InmemStore(db)
    with pytest.raises(inmem.InvalidValueError, match=f"^value: must be a dict, not {type(value).__name__}$"):
        store.batch([PutOp(("a",), "first", {"n": 1}), PutOp(("a",), "k", value)])
    assert db.version == 0


@pytest.mark.parametrize("op", [PutOp((), "k", {}), GetOp(("a.b",), "k"), SearchOp(("",)), PutOp(("a", 1), "k", {})])
def test_a_namespace_that_is_none_is_refused_in_a_batch_too(db, op):
    with pytest.raises(InvalidNamespaceError):
        InmemStore(db).batch([op])


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.put("users", "k", {}),
        lambda store: store.get("users", "k"),
        lambda store: store.delete("users", "k"),
        lambda store: store.search("users"),
        lambda store: store.list_namespaces(prefix="users"),
        lambda store: asyncio.run(store.aput("users", "k", {})),
        lambda store: store.batch([PutOp("users", "k", {})]),
    ],
)
def test_a_namespace_that_is_one_str_is_refused_rather_than_taken_apart(db, call):
    store = InmemStore(db)
    store.put(("u", "s", "e", "r", "s"), "k", {})
    before = db.version
    with pytest.raises(InvalidNamespaceError, match=r"such as \('users',\), not the str alone"):
        call(store)
    assert db.version == before


@pytest.mark.parametrize("wrong", [-1, None, "1", 1.0, True])
@pytest.mark.parametrize("name", ["limit", "offset", "max_depth"])
def test_a_limit_an_offset_or_a_depth_that_is_none_is_refused_by_name(db, name, wrong):
    store = InmemStore(db)
    calls = [store.list_namespaces] if name == "max_depth" else [partial(store.search, ("a",)), store.list_namespaces]
    if (name, wrong) == ("max_depth", None):
        assert store.list_namespaces(max_depth=None) == []
        return
    for call in calls:
        with pytest.raises(inmem.UsageError, match=rf"^{name}: must be an int of at least 0, not {wrong!r}$"):
            call(**{name: wrong})


def test_a_limit_may_be_nothing_or_more_than_there_can_be(db):
    store = InmemStore(db)
    for name in "abc":
        store.put(("n",), name, {})
    assert store.search(("n",), limit=0) == []
    assert [item.key for item in store.search(("n",), limit=sys.maxsize, offset=1)] == ["b", "c"]
    assert store.search(("n",), offset=2**70) == []


@pytest.mark.parametrize(
    "ttl", ["x", True, -1, 0, float("nan"), float("inf"), 10**12, pytest.param(10**400, id="huge"), [1]]
)
def test_a_time_to_live_that_is_none_is_refused_in_minutes(db, ttl):
    store = InmemStore(db)
    with pytest.raises(inmem.UsageError) as caught:
        store.put(("a",), "k", {}, ttl=ttl)
    most = "a positive number of minutes, at most 100000000000"
    assert str(caught.value) == f"ttl: must be {most}, or None, not {ttl!r}"
    with pytest.raises(inmem.UsageError, match=r"^ttl\[\"default_ttl\"\]: must be a positive number of minutes"):
        InmemStore(db, ttl={"default_ttl": ttl})
    assert db.version == 0


def test_the_longest_time_to_live_can_be_stored(db):
    InmemStore(db).put(("a",), "k", {}, ttl=10**11)
    assert db.get_versioned(RUN, "langgraph-store/a##k").expires_at > 6 * 10**18


@pytest.mark.parametrize(
    ("ttl", "reason"),
    [
        (5, 'ttl: must be a dict such as {"default_ttl": minutes}, or None, not 5'),
        ([("default_ttl", 5)], "ttl: must be a dict such as"),
        ({"default_tll": 5}, "ttl: must hold only refresh_on_read, .*default_ttl.*, not 'default_tll'"),
        ({1: 5}, "ttl: must hold only .*, not 1"),
        ({"refresh_on_read": "no"}, r"ttl\[\"refresh_on_read\"\]: must be True or False, not 'no'"),
        ({"refresh_on_read": None}, r"ttl\[\"refresh_on_read\"\]: must be True or False, not None"),
    ],
)
def test_a_configuration_that_is_none_is_refused_when_the_store_is_made(db, ttl, reason):
    with pytest.raises(inmem.UsageError, match=f"^{reason}"):
        InmemStore(db, ttl=ttl)


@pytest.mark.parametrize(
    "ttl",
    [None, {}, {"default_ttl": None, "refresh_on_read": False, "omit_expired": True, "sweep_interval_minutes": 5}],
)
def test_all_that_langgraph_knows_of_may_be_configured(db, ttl):
    assert InmemStore(db, ttl=ttl).ttl_config is ttl


def test_an_operation_or_a_condition_that_is_none_is_refused(db):
    store = InmemStore(db)
    store.put(("a",), "k", {})
    for op in (object(), ListNamespacesOp((MatchCondition("middle", ("a",)),))):
        with pytest.raises(inmem.UsageError):
            store.batch([op])


NAMES = [
    ("a",),
    ("a", "b"),
    ("a", "bb"),
    ("a-",),
    ("a/b",),
    ("a%2Fb",),
    ("ab",),
    ("a", "-"),
    ("0",),
    ("é", "\U0010ffff"),
]


def test_a_search_stays_below_its_prefix(db):
    store = InmemStore(db)
    for labels in NAMES:
        for key in ("", "k", "/", "a//b"):
            store.put(labels, key, {"in": list(labels)})
    for prefix in [(), *NAMES, ("nothing",)]:
        items = store.search(prefix, limit=1000)
        assert {item.namespace for item in items} == {labels for labels in NAMES if labels[: len(prefix)] == prefix}
        assert all(item.value == {"in": list(item.namespace)} for item in items)
        assert len(items) == 4 * len({item.namespace for item in items})


def test_pages_of_a_search_join(db):
    store = InmemStore(db)
    store.batch([PutOp(("n", str(number % 3)), f"{number:03}", {"n": number}) for number in range(250)])
    pages = [store.search(("n",), limit=40, offset=offset) for offset in range(0, 280, 40)]
    joined = [pair for page in pages for pair in found(page)]
    assert [len(page) for page in pages] == [40] * 6 + [10]
    assert joined == sorted(set(joined))
    assert len(store.search(("n",), filter={"n": {"$lt": 10}}, limit=5, offset=8)) == 2


@pytest.mark.parametrize(
    ("wanted", "keys_found"),
    [
        ({"n": 2}, ["b"]),
        ({"n": {"$eq": 2}}, ["b"]),
        ({"n": {"$ne": 2}}, ["a", "c", "d"]),
        ({"n": {"$gt": 1, "$lte": 3}}, ["b", "c"]),
        ({"n": {"$gte": 2}}, ["b", "c"]),
        ({"n": {"$lt": 2}}, ["a"]),
        ({"name": {"$gt": "b"}}, ["c"]),
        ({"of": {"x": 1}}, ["a"]),
        ({"tags": ["p", "q"]}, ["b"]),
        ({"tags": ["p"]}, []),
        ({"tags": {"$eq": ("p", "q")}}, ["b"]),
        ({"of": {"x": {"$ne": ({"y": (1,)},)}}}, ["a"]),
        ({"n": None}, ["d"]),
        ({}, ["a", "b", "c", "d"]),
    ],
)
def test_filters(db, wanted, keys_found):
    store = InmemStore(db)
    store.put(("f",), "a", {"n": 1, "name": "a", "of": {"x": 1, "y": 2}})
    store.put(("f",), "b", {"n": 2, "name": "b", "tags": ["p", "q"]})
    store.put(("f",), "c", {"n": 3, "name": "c"})
    store.put(("f",), "d", {"other": True})
    assert [item.key for item in store.search(("f",), filter=wanted)] == keys_found


@pytest.mark.parametrize(
    "wanted",
    [
        {"of": {"x": 1}},
        {"of": {}},
        {"of": {"$eq": {"x": 1}}},
        {"of": {"$eq": {"x": 1, "y": [2, 3]}}},
        {"of": {"$ne": {"x": 1}}},
        {"list": {"$eq": [{"x": 1}]}},
        {"list": [{"x": 1}]},
        {"missing": {"$ne": 1}},
        {"missing": {"$eq": None}},
        {"of": {"x": {"$eq": 1.0}}},
        *(
            {"int": {name: operand}}
            for name in ("$gt", "$gte", "$lt", "$lte")
            for operand in ("3", 5, " 5.0 ", "inf", True)
        ),
        *({"digits": {name: operand}} for name in ("$gt", "$gte", "$lt", "$lte") for operand in (9, "9", 10, "10.0")),
    ],
    ids=str,
)
def test_filters_are_judged_as_by_langgraphs_own_store(db, wanted):
    """`$eq` took a part of a dict for the whole, and texts that are numbers were no numbers."""
    stored = {"of": {"x": 1, "y": [2, 3]}, "list": [{"x": 1, "y": 2}], "int": 5, "digits": "10"}
    stores = InMemoryStore(), InmemStore(db)
    for store in stores:
        store.put(("f",), "a", stored)
    expected, found_here = ([item.key for item in store.search(("f",), filter=wanted)] for store in stores)
    assert found_here == expected


@pytest.mark.parametrize("operand", [1, "1", "b", None, [1], 10**400])
@pytest.mark.parametrize("value", [None, "a", [1], {"x": 1}, b"1"])
def test_what_has_no_order_passes_no_comparison(db, value, operand):
    """LangGraph's own store raises; texts alone have an order here, unless both are numbers."""
    store = InmemStore(db)
    store.put(("f",), "k", {"v": value})
    passed = [name for name in ("$gt", "$gte", "$lt", "$lte") if store.search(("f",), filter={"v": {name: operand}})]
    are_texts = value == "a" and isinstance(operand, str)
    assert passed == ((["$lt", "$lte"] if operand == "b" else ["$gt", "$gte"]) if are_texts else [])


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"n": {"$near": 1}}, r"there is no operator '\$near'"),
        ({"n": [{"m": {"$eq": {"$near": 1}}}]}, r"there is no operator '\$near'"),
        ({"n": {"$gt": 1, "m": 1}}, "there is no operator 'm'"),
        ({1: 2}, "names must be str, not 1"),
        ({"n": {"m": {None: 2}}}, "names must be str, not None"),
        ([("n", 1)], "must be a dict or None, not list"),
        ("n", "must be a dict or None, not str"),
        (0, "must be a dict or None, not int"),
    ],
)
def test_what_is_no_filter_is_refused_at_the_call(db, wanted, reason):
    store = InmemStore(db)
    for _ in range(2):  # also where there is nothing to filter
        with pytest.raises(inmem.UsageError, match=f"^filter: {reason}$"):
            store.search(("f",), filter=wanted)
        store.put(("f",), "a", {"n": 1})


def test_a_key_that_is_not_a_str_is_refused(db):
    store = InmemStore(db)
    for op in (PutOp(("a",), 5, {}), PutOp(("a",), 5, None), GetOp(("a",), 5)):
        with pytest.raises(inmem.InvalidKeyError, match=r"^key: must be a str, not int$"):
            store.batch([op])
    assert db.version == 0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["a", "b"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["a", "b"]), json_values, max_size=2), json_values)
def test_equality_filters_mean_what_they_mean_in_langgraphs_own_store(value, wanted):
    own = InMemoryStore()
    own.put(("n",), "k", value)
    expected = bool(own.search(("n",), filter={"a": wanted}))
    assert passes(value.get("a"), wanted) is expected


# With what sorts about the separator, above all.
low_texts = st.text(st.sampled_from("\x00\x1f !\"#$%&'-/0a\xe9\U0010ffff"), max_size=3)
labels_and_keys = st.tuples(
    st.lists((st.text() | low_texts).filter(bool), min_size=1, max_size=4).map(tuple), st.text() | low_texts
)


@given(labels_and_keys)
def test_keys_of_items_can_be_read_back(item):
    assert keys.labels_and_key(keys.item_key(*item)) == item


@given(st.lists(labels_and_keys, min_size=2))
def test_keys_of_items_are_in_the_order_of_namespaces_and_keys(items):
    assert sorted(items) == sorted(items, key=lambda item: keys.item_key(*item).encode())


def test_a_search_is_in_the_order_of_namespaces_and_so_is_their_list(db):
    store = InmemStore(db)
    names = [("user",), ("user", " "), ("user", "!b"), ("user", "b"), ("user", "b", "c"), ("user b",), ("user-2",)]
    pairs = [(labels, key) for labels in names for key in ("", "!", "k#", "k/", "z")]
    store.batch([PutOp(labels, key, {}) for labels, key in reversed(pairs)])
    assert store.list_namespaces() == names
    assert [pair for offset in range(0, 40, 3) for pair in found(store.search((), limit=3, offset=offset))] == pairs
    assert found(store.search(("user",), limit=100)) == [pair for pair in pairs if pair[0][0] == "user"]


def test_namespaces_are_listed_as_langgraphs_own_store_lists_them(db):
    stores = InmemStore(db), InMemoryStore()
    for labels in [*NAMES, ("a", "b", "c", "d"), ("a", "b", "c", "e"), ("x", "b", "c")]:
        for store in stores:
            store.put(labels, "k1", {"n": 1})
            store.put(labels, "k2", {"n": 1})
    for wanted in [
        {},
        {"prefix": ("a",)},
        {"prefix": ("a", "*", "c")},
        {"suffix": ("c",)},
        {"suffix": ("b", "*")},
        {"prefix": ("a",), "suffix": ("e",)},
        {"max_depth": 2},
        {"max_depth": 3, "prefix": ("a", "b")},
        {"limit": 3, "offset": 2},
    ]:
        ours, theirs = (store.list_namespaces(**wanted) for store in stores)
        assert ours == theirs, wanted


def test_an_expired_item_is_absent_everywhere(db):
    store = InmemStore(db)
    store.put(("t",), "short", {"n": 1}, ttl=0.01 / 60)
    store.put(("t",), "long", {"n": 2})
    deadline_us = time.time_ns() // 1000 + 10_000
    while time.time_ns() // 1000 <= deadline_us:
        pass
    assert store.get(("t",), "short") is None
    assert found(store.search(("t",))) == [(("t",), "long")]
    store.delete(("t",), "long")
    assert store.list_namespaces() == []


def test_reading_puts_a_deadline_off_unless_told_not_to(db):
    store = InmemStore(db, ttl={"default_ttl": 60.0})

    def deadline():
        return db.get_versioned(RUN, "langgraph-store/t##k").expires_at

    store.put(("t",), "k", {"n": 1})
    first = deadline()
    store.get(("t",), "k", refresh_ttl=False)
    store.search(("t",), refresh_ttl=False)
    assert deadline() == first
    store.get(("t",), "k")
    second = deadline()
    assert second > first
    store.search(("t",))
    assert deadline() > second
    item = store.get(("t",), "k")
    assert item.updated_at == item.created_at

    store.put(("t",), "k", {"n": 2}, ttl=None)
    assert deadline() is None

    quiet = InmemStore(db, ttl={"refresh_on_read": False})
    quiet.put(("t",), "k", {"n": 1}, ttl=60)
    first = deadline()
    quiet.get(("t",), "k")
    assert deadline() == first


def test_many_writers_to_one_item_all_succeed(db):
    store = InmemStore(db)

    def write(number):
        store.put(("n",), "k", {"n": number}, ttl=60)
        return store.get(("n",), "k").value["n"]

    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(write, range(100)))) == 100


def test_the_async_methods_do_the_same(db):
    store = InmemStore(db)

    async def story():
        await asyncio.gather(*(store.aput(("n",), str(number), {"n": number}) for number in range(20)))
        await store.adelete(("n",), "0")
        return (
            (await store.aget(("n",), "7")).value,
            len(await store.asearch(("n",), limit=50)),
            await store.alist_namespaces(),
        )

    assert asyncio.run(story()) == ({"n": 7}, 19, [("n",)])


def test_a_thread_may_hold_items_of_its_own_beside_its_checkpoints(db):
    saver, store = InmemSaver(db), InmemStore(db, run="t")
    saver.put({"configurable": {"thread_id": "t"}}, empty_checkpoint(), {}, {})
    store.batch([PutOp(("langgraph", "c"), "k", {"n": 1})])
    assert found(store.search(())) == [(("langgraph", "c"), "k")]
    assert len(list(saver.list(None))) == 1
    saver.delete_thread("t")
    assert store.list_namespaces() == [("langgraph", "c")]


def test_stores_of_different_runs_share_nothing_and_items_survive_reopening(tmp_path):
    with inmem.open(tmp_path / "db") as db:
        InmemStore(db).put(("a",), "k", {"n": 1})
        InmemStore(db, run="other").put(("a",), "k", {"n": 2})
    with inmem.open(tmp_path / "db", read_only=True) as db:
        assert InmemStore(db).get(("a",), "k").value == {"n": 1}
        assert InmemStore(db, run="other").search(())[0].value == {"n": 2}
