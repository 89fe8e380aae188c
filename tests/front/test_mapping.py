"""A run's KVStore as a dict, and what goes beyond a dict."""

import threading
from collections import ChainMap
from collections.abc import MutableMapping

import pytest

import inmem
from inmem.engine.errors import InvalidKeyError, InvalidValueError, RetriesExhaustedError


@pytest.fixture
def db():
    with inmem.open(":memory:") as database:
        yield database


@pytest.fixture
def mapping(db):
    return db.kv.mapping("run")


def test_it_is_a_mutable_mapping_over_the_kv_store(db, mapping):
    assert isinstance(mapping, MutableMapping)
    mapping["a"] = {"x": [1]}
    assert db.kv.get("run", "a") == {"x": [1]}
    db.kv.put("run", "b", 2)
    assert mapping == {"a": {"x": [1]}, "b": 2}
    assert ChainMap({}, mapping)["b"] == 2
    del mapping["a"]
    assert not db.kv.exists("run", "a")
    assert repr(mapping) == "<KVMapping of run 'run' of ':memory:'>"


def test_two_runs_are_two_mappings(db, mapping):
    mapping["a"] = 1
    assert db.kv.mapping("other") == {}


def test_keys_come_in_the_order_of_their_bytes(mapping):
    for key in ("é", "b", "", "a", "B", "\x00"):
        mapping[key] = None
    assert list(mapping) == ["", "\x00", "B", "a", "b", "é"]
    assert mapping.popitem() == ("", None)


def test_a_stored_none_is_not_an_absent_key(mapping):
    mapping["a"] = None
    assert "a" in mapping
    assert mapping["a"] is None
    assert mapping.get("a", "default") is None
    assert mapping.setdefault("a", 1) is None
    assert mapping.pop("a", "default") is None
    assert mapping.pop("a", None) is None
    with pytest.raises(KeyError):
        mapping.pop("a")


def test_values_are_copies(mapping):
    value = [1]
    mapping["a"] = value
    value.append(2)
    mapping["a"].append(3)
    mapping.setdefault("b", value).append(4)
    assert mapping == {"a": [1], "b": [1, 2]}


def test_views_are_live_and_each_iteration_shows_one_snapshot(mapping):
    items, values = mapping.items(), mapping.values()
    mapping.update(a=1, b=[2])
    assert list(items) == [("a", 1), ("b", [2])]
    assert list(values) == [1, [2]]
    assert [2] in values
    assert ("b", [2]) in items
    assert len(items) == len(values) == 2
    begun = iter(items), iter(values), iter(mapping)
    mapping.clear()
    assert [list(each) for each in begun] == [[("a", 1), ("b", [2])], [1, [2]], ["a", "b"]]
    assert not mapping


def test_update_and_clear_are_one_commit_each(db, mapping):
    version = db.version
    mapping.update({"a": 1, "b": 2}, c=3)
    assert db.version == version + 1
    mapping.clear()
    assert db.version == version + 2


def test_an_update_that_cannot_be_stored_changes_nothing(mapping):
    with pytest.raises(InvalidValueError):
        mapping.update({"a": 1, "b": object()})
    assert mapping == {}


def test_what_cannot_be_a_key_is_an_error_everywhere(mapping):
    for operation in (
        lambda: mapping[5],
        lambda: 5 in mapping,
        lambda: mapping.get(5),
        lambda: mapping.pop(5, None),
        lambda: mapping.setdefault(5),
        lambda: mapping.update({5: 1}),
        lambda: mapping.__setitem__(5, 1),
        lambda: mapping.__delitem__(5),
    ):
        with pytest.raises(InvalidKeyError):
            operation()


def test_it_is_merged_and_copied_as_a_dict_is(mapping):
    mapping |= {"b": 1, "a": [2]}
    assert mapping == {"a": [2], "b": 1}
    assert list(reversed(mapping)) == ["b", "a"]
    for merged, expected in (
        (mapping | {"b": 3}, {"a": [2], "b": 3}),
        ({"b": 3, "c": 4} | mapping, {"a": [2], "b": 1, "c": 4}),
        (mapping | mapping, {"a": [2], "b": 1}),
        (mapping.copy(), {"a": [2], "b": 1}),
    ):
        assert (type(merged), merged) == (dict, expected)
    mapping |= [("c", 5)]
    assert mapping.copy() == {"a": [2], "b": 1, "c": 5}
    for operation in (lambda: mapping | [("d", 6)], lambda: 5 | mapping):
        with pytest.raises(TypeError):
            operation()


def test_an_item_is_popped_by_one_only(mapping):
    tasks = {f"task-{number:02}": number for number in range(40)}
    mapping.update(tasks)
    taken = [[] for _ in range(4)]

    def work(mine):
        while mapping:
            try:
                mine.append(mapping.popitem())
            except RetriesExhaustedError:
                continue
            except KeyError:
                return

    agents = [threading.Thread(target=work, args=(mine,)) for mine in taken]
    for agent in agents:
        agent.start()
    for agent in agents:
        agent.join()
    assert sorted(item for mine in taken for item in mine) == sorted(tasks.items())
