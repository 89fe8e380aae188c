"""What LangGraph's own tests of a checkpointer leave open: atomicity, concurrency, order, removal, transactions."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import inmem

pytest.importorskip("langgraph.checkpoint", reason="the extra langgraph is not installed")

from langgraph.checkpoint.base import CheckpointTuple, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6

from inmem.integrations.langgraph import InmemSaver, collection
from inmem.integrations.langgraph.checkpoints import ThreadCheckpoints
from inmem.integrations.langgraph.keys import CHECKPOINTS

NAMES = ["", "child:1", "a/b", "a", "a%2Fb", "a|b", "a-b", "é\x00", "0"]


@pytest.fixture
def db():
    with inmem.open(":memory:") as database:
        yield database


def config_of(thread_id="t", namespace="", checkpoint_id=None):
    named = {"thread_id": thread_id, "checkpoint_ns": namespace}
    return {"configurable": named if checkpoint_id is None else {**named, "checkpoint_id": checkpoint_id}}


def checkpoint_of(values, versions=None, checkpoint_id=None):
    versions = versions or dict.fromkeys(values, 1)
    made = checkpoint_id or str(uuid6())
    return {**empty_checkpoint(), "id": made, "channel_values": values, "channel_versions": versions}


def put(saver, config, values, versions=None, *, new=None, run_id=None, checkpoint_id=None):
    checkpoint = checkpoint_of(values, versions, checkpoint_id)
    metadata = {"source": "loop", "step": 0, "parents": {}}
    if run_id is not None:
        metadata["run_id"] = run_id
    return saver.put(config, checkpoint, metadata, checkpoint["channel_versions"] if new is None else new)


def values_of(saver, config):
    found = saver.get_tuple(config)
    return None if found is None else found.checkpoint["channel_values"]


def check(db, saver, thread_id="t"):
    with db.begin(thread_id) as txn:
        collection.check(ThreadCheckpoints(txn, thread_id, saver.serde))


def ids(found):
    return [each.config["configurable"]["checkpoint_id"] for each in found]


def test_a_checkpoint_is_one_commit_and_the_thread_is_a_run(db):
    saver = InmemSaver(db)
    before = db.version
    put(saver, config_of(), {"a": 1, "b": [2, 3], "c": {"d": None}})
    assert db.version == before + 1
    assert db.runs.get_run("t").tags == ("langgraph",)


def test_a_put_that_fails_leaves_nothing(db):
    saver = InmemSaver(db)
    with pytest.raises(TypeError):
        put(saver, config_of(), {"a": 1, "b": object()})
    with pytest.raises(TypeError):
        saver.put_writes(config_of(checkpoint_id="1"), [("a", 1), ("b", object())], "task")
    assert (db.version, db.runs.get_run("t")) == (0, None)


def test_a_run_that_exists_already_is_tagged_and_keeps_what_it_is(db):
    db.begin_run("t", tags=["travel"], metadata={"of": "Ada"})
    put(InmemSaver(db), config_of(), {"a": 1})
    known = db.runs.get_run("t")
    assert (known.tags, known.metadata) == (("travel", "langgraph"), {"of": "Ada"})


def test_thread_ids_that_are_not_str_are_taken_by_their_text(db):
    saver = InmemSaver(db)
    put(saver, config_of(7), {"a": 1})
    assert values_of(saver, config_of("7")) == {"a": 1}
    saver.copy_thread(7, 8)
    assert values_of(saver, config_of("8")) == {"a": 1}
    saver.delete_thread(8)
    assert db.runs.list_runs() == ["7"]
    with pytest.raises(inmem.InvalidKeyError, match="255"):
        put(saver, config_of("x" * 256), {"a": 1})


@pytest.mark.parametrize("name", NAMES)
def test_a_namespace_never_shows_what_lies_in_another(db, name):
    saver = InmemSaver(db)
    for each in NAMES:
        put(saver, config_of(namespace=each), {"in": each})
        put(saver, config_of(namespace=each), {"in": each, "newest": True})
    assert values_of(saver, config_of(namespace=name)) == {"in": name, "newest": True}
    assert len(list(saver.list(config_of(namespace=name)))) == 2
    found = [each.config["configurable"]["checkpoint_ns"] for each in saver.list({"configurable": {"thread_id": "t"}})]
    assert sorted(found) == sorted(NAMES * 2)


def test_the_newest_is_the_one_with_the_greatest_id_even_if_ids_continue_each_other(db):
    saver = InmemSaver(db)
    names = ["a", "ab", "abc", "b", "é", "0"]
    for name in names:
        put(saver, config_of(), {"id": name}, checkpoint_id=name)
    assert ids(saver.list(config_of())) == sorted(names, reverse=True)
    assert values_of(saver, config_of()) == {"id": "é"}
    assert ids(saver.list(config_of(), before=config_of(checkpoint_id="abc"))) == ["ab", "a", "0"]
    assert ids(saver.list(config_of(), before=config_of(checkpoint_id="abb"))) == ["ab", "a", "0"]


def test_a_listing_over_all_threads_is_newest_first_and_takes_no_more_than_asked_for(db):
    saver = InmemSaver(db)
    made = [put(saver, config_of(f"t{number % 3}", "sub" * (number % 2)), {"n": number}) for number in range(12)]
    db.runs.archive_run("t1")
    newest = ids([CheckpointTuple(config, {}, {}) for config in reversed(made)])
    assert ids(saver.list(None)) == ids(saver.list({})) == newest
    assert ids(saver.list(None, limit=5)) == newest[:5]
    assert ids(saver.list(None, limit=0)) == []
    assert ids(saver.list(made[3])) == ids(saver.list(made[3], limit=9)) == [newest[8]]
    assert ids(saver.list(None, filter={"step": 1})) == []


@pytest.mark.parametrize(("limit", "records_max"), [(0, 0), (1, 6 + 2), (5, 6 + 2 * 5), (None, 6 * 40)])
def test_a_listing_over_all_threads_reads_little_more_than_it_gives(db, monkeypatch, limit, records_max):
    """For one checkpoint it read as many as a hundred of every thread and namespace."""
    saver = InmemSaver(db)
    for number in range(6 * 40):
        put(saver, config_of(f"t{number % 3}", "sub" * (number % 2)), {"n": number})
    read = []

    class Counting:
        def __init__(self, kv):
            self._kv = kv

        def list_with_values(self, prefix, **arguments):
            found = self._kv.list_with_values(prefix, **arguments)
            if prefix.startswith(CHECKPOINTS):
                read.extend(found)
            return found

        def __getattr__(self, name):
            return getattr(self._kv, name)

    class Counted(ThreadCheckpoints):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.kv = Counting(self.kv)

    monkeypatch.setattr("inmem.integrations.langgraph.saver.ThreadCheckpoints", Counted)
    found = list(saver.list(None, limit=limit))
    assert len(found) == (6 * 40 if limit is None else limit)
    assert len(read) <= records_max


def test_a_listing_sees_one_snapshot_however_long_it_takes(db):
    saver = InmemSaver(db)
    for number in range(3):
        put(saver, config_of(), {"n": number})
    listing = saver.list(config_of())
    seen = [next(listing).checkpoint["channel_values"]["n"]]
    saver.delete_thread("t")
    put(saver, config_of(), {"n": 9})
    seen += [found.checkpoint["channel_values"]["n"] for found in listing]
    assert seen == [2, 1, 0]


def test_an_async_listing_that_is_left_early_ends_its_transaction(db):
    saver = InmemSaver(db)
    for number in range(3):
        put(saver, config_of(), {"n": number})

    async def first():
        listing = saver.alist(config_of())
        found = await anext(listing)
        await listing.aclose()
        return found.checkpoint["channel_values"]

    assert asyncio.run(first()) == {"n": 2}
    assert db.stats().active_transactions == 0


def test_two_values_with_one_version_number_do_not_overwrite_each_other(db):
    """Forks of one checkpoint give the same next number to different values."""
    saver = InmemSaver(db)
    start = put(saver, config_of(), {"a": "old", "same": "s"})
    left = put(saver, start, {"a": "left", "same": "s"}, {"a": 2, "same": 1}, new={"a": 2})
    right = put(saver, start, {"a": "right", "same": "s"}, {"a": 2, "same": 1}, new={"a": 2})
    assert [values_of(saver, config) for config in (start, left, right)] == [
        {"a": "old", "same": "s"},
        {"a": "left", "same": "s"},
        {"a": "right", "same": "s"},
    ]
    assert len(db.kv.list("t", "langgraph/b/")) == 4


def test_a_value_that_did_not_change_is_kept_once_and_not_even_serialized_again(db):
    class Counting:
        dumped = 0

        def __init__(self, inner):
            self.inner = inner

        def dumps_typed(self, value):
            self.dumped += value == "big"
            return self.inner.dumps_typed(value)

        def loads_typed(self, data):
            return self.inner.loads_typed(data)

    serde = Counting(InmemSaver(db).serde)
    saver = InmemSaver(db, serde=serde)
    config = put(saver, config_of(), {"a": "big", "n": 0}, {"a": 1, "n": 1})
    for number in range(1, 5):
        config = put(saver, config, {"a": "big", "n": number}, {"a": 1, "n": number + 1}, new={"n": number + 1})
    assert values_of(saver, config) == {"a": "big", "n": 4}
    assert serde.dumped == 1


def test_writes_come_back_in_the_order_of_tasks_and_a_repeated_task_adds_nothing(db):
    saver = InmemSaver(db)
    config = put(saver, config_of(), {})
    saver.put_writes(config, [("x", 1), ("y", 2)], "task-b", "~1")
    saver.put_writes(config, [("x", 3)], "task-a", "~2")
    saver.put_writes(config, [("x", "again"), ("__error__", "first")], "task-b", "~1")
    saver.put_writes(config, [("__error__", "second")], "task-b", "~1")
    assert saver.get_tuple(config).pending_writes == [
        ("task-b", "__error__", "second"),
        ("task-b", "x", 1),
        ("task-b", "y", 2),
        ("task-a", "x", 3),
    ]


def test_writes_that_belong_to_no_checkpoint_are_refused(db):
    with pytest.raises(KeyError, match="checkpoint_id"):
        InmemSaver(db).put_writes(config_of(), [("x", 1)], "task")


def test_a_checkpoint_that_lacks_a_value_is_found(db):
    saver = InmemSaver(db)
    put(saver, config_of(), {"a": 1})
    [key] = db.kv.list("t", "langgraph/b/")
    db.delete("t", key)
    for look in (lambda: check(db, saver), lambda: saver.get_tuple(config_of())):
        with pytest.raises(inmem.InvariantError, match=key):
            look()


def test_many_writers_to_one_new_thread_all_succeed(db):
    saver = InmemSaver(db)
    start = threading.Barrier(8)

    def writer(name):
        start.wait()
        config = config_of()
        for number in range(5):
            config = put(saver, config, {"who": name, "shared": "s"}, {"who": number + 1, "shared": 1})
            saver.put_writes(config, [("who", number)], f"task-{name}")
        return config

    with ThreadPoolExecutor(8) as pool:
        last = list(pool.map(writer, range(8)))
    assert [values_of(saver, config)["who"] for config in last] == list(range(8))
    assert len(list(saver.list(config_of()))) == 40
    assert all(len(found.pending_writes) == 1 for found in saver.list(config_of()))
    check(db, saver)


@pytest.mark.parametrize("remove", [collection.keep_newest, collection.delete])
def test_a_put_that_comes_second_to_a_removal_of_what_it_shares_conflicts(db, remove):
    saver = InmemSaver(db)
    parent = put(saver, config_of(), {"a": "shared"}, checkpoint_id="1")
    put(saver, config_of(), {"b": "other"}, checkpoint_id="2")
    values = checkpoint_of({"a": "shared"}, checkpoint_id="3")

    with db.begin("t") as txn:
        saver.bound(txn).put(parent, values, {}, {})
        with db.begin("t", isolation="serializable") as removal:
            remove(ThreadCheckpoints(removal, "t", saver.serde))
        with pytest.raises(inmem.ConflictError):
            txn.commit()

    assert values_of(saver, saver.put(parent, values, {}, {})) == {"a": "shared"}
    check(db, saver)


@pytest.mark.parametrize("remove", [collection.keep_newest, collection.delete])
def test_a_removal_that_comes_second_to_a_put_that_shares_conflicts(db, remove):
    saver = InmemSaver(db)
    parent = put(saver, config_of(), {"a": "shared"}, checkpoint_id="1")
    put(saver, config_of(), {"b": "other"}, checkpoint_id="2")
    with db.begin("t", isolation="serializable") as removal:
        remove(ThreadCheckpoints(removal, "t", saver.serde))
        saver.put(parent, checkpoint_of({"a": "shared"}, checkpoint_id="3"), {}, {})
        with pytest.raises(inmem.ConflictError):
            removal.commit()
    assert values_of(saver, config_of()) == {"a": "shared"}
    check(db, saver)


def test_removing_while_others_write_loses_no_value(db):
    saver = InmemSaver(db)
    done = threading.Event()

    def writer(name):
        config = config_of()
        for number in range(20):
            config = put(saver, config, {"n": number % 2, "who": name}, {"n": number + 1, "who": 1}, new={})
        return values_of(saver, config)

    def pruner():
        rounds = 0
        while not done.is_set() or not rounds:
            saver.prune(["t"])
            rounds += 1
            check(db, saver)

    with ThreadPoolExecutor(4) as pool:
        pruning = pool.submit(pruner)
        writers = [pool.submit(writer, name) for name in range(3)]
        try:
            for each in writers:
                each.result()
        finally:
            done.set()
        pruning.result()
    saver.prune(["t"])
    assert len(list(saver.list(config_of()))) == 1
    assert set(values_of(saver, config_of())) == {"n", "who"}


def test_pruning_removes_every_entry_that_nothing_needs(db):
    saver = InmemSaver(db)
    config = config_of()
    for number in range(6):
        config = put(saver, config, {"n": number, "keep": "k"}, {"n": number, "keep": 1}, run_id=f"run-{number}")
        saver.put_writes(config, [("n", number)], "task")
    before = values_of(saver, config)

    saver.prune(["t"], strategy="keep_latest")

    assert values_of(saver, config_of()) == before
    assert [key.split("/")[1] for key in db.kv.list("t")] == ["b", "b", "c", "r", "registered", "w"]
    with pytest.raises(inmem.UsageError, match="keep_latest"):
        saver.prune(["t"], strategy="sometimes")


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("thread_ids", lambda saver, one: saver.prune(one, strategy="delete")),
        ("thread_ids", lambda saver, one: saver.prune(one)),
        ("run_ids", lambda saver, one: saver.delete_for_runs(one)),
        ("thread_ids", lambda saver, one: asyncio.run(saver.aprune(one))),
        ("run_ids", lambda saver, one: asyncio.run(saver.adelete_for_runs(one))),
    ],
)
@pytest.mark.parametrize("one", ["t1", b"t1"])
def test_one_id_where_several_belong_is_refused_rather_than_taken_apart(db, argument, call, one):
    saver = InmemSaver(db)
    for thread_id in ("t", "1", "t1"):
        put(saver, config_of(thread_id), {"a": 1}, run_id=thread_id)
    before = db.version
    with pytest.raises(inmem.UsageError, match=rf"^{argument}: must be several ids, not {one!r} alone$"):
        call(saver, one)
    assert db.version == before


def test_deleting_by_run_finds_it_in_every_thread_and_leaves_the_others(db):
    saver = InmemSaver(db)
    for thread_id in ("t", "u", "v"):
        for run_id in ("r/1", "r"):
            put(saver, config_of(thread_id), {"run": run_id}, run_id=run_id)
    put(saver, config_of("v", "sub"), {"run": "r"}, run_id="r")
    before = {thread_id: db.kv.list(thread_id) for thread_id in "uv"}

    saver.delete_for_runs(["r"])

    assert {found.metadata["run_id"] for found in saver.list(None)} == {"r/1"}
    assert len(list(saver.list(None))) == 3
    assert all(len(db.kv.list(thread_id)) < len(before[thread_id]) for thread_id in "uv")
    for thread_id in "tuv":
        check(db, saver, thread_id)


def test_deleting_a_thread_takes_its_run_only_if_nobody_else_uses_it(db):
    saver = InmemSaver(db)
    others = ("with events", "with a key", "registered", "failed", "completed", "paused", "archived", "with a child")
    for thread_id in ("alone", *others):
        if thread_id == "registered":
            db.begin_run(thread_id, metadata={"of": "Ada"})
        put(saver, config_of(thread_id), {"a": 1})
    db.events.append("with events", "said", "hello")
    db.put("with a key", "plan", 1)
    db.runs.fail_run("failed", "the model gave up")
    db.runs.complete_run("completed")
    db.runs.pause_run("paused")
    db.runs.archive_run("archived")
    db.begin_run("child", parent="with a child")
    db.runs.archive_run("child")

    for thread_id in ("alone", *others, "never there"):
        saver.delete_thread(thread_id)
        assert saver.get_tuple(config_of(thread_id)) is None
        assert db.kv.list(thread_id, "langgraph/") == []

    assert set(db.runs.list_runs(include_archived=True)) == {*others, "child"}
    assert db.runs.get_run("failed").error == "the model gave up"
    assert db.events.len("with events") == 1
    assert db.get("with a key", "plan") == 1


def test_deleting_a_thread_keeps_a_run_that_somebody_else_has_registered_as_it_was(db):
    saver = InmemSaver(db)
    db.begin_run("bare")
    db.begin_run("tagged", tags=["mine"])
    db.begin_run("as the saver does it", tags=["langgraph"])
    db.begin_run("copied to")
    for thread_id in ("bare", "tagged", "as the saver does it", "source"):
        put(saver, config_of(thread_id), {"a": 1})
    saver.copy_thread("source", "copied to")
    saver.put_writes(config_of("bare", checkpoint_id="1"), [("a", 1)], "task")

    for thread_id in ("bare", "tagged", "as the saver does it", "copied to", "source"):
        saver.delete_thread(thread_id)

    tags = {run.run_id: run.tags for run in db.runs.query_runs()}
    assert tags == {"bare": (), "tagged": ("mine",), "as the saver does it": ("langgraph",), "copied to": ()}
    assert all(db.kv.list(run) == [] for run in tags)


def test_a_run_of_the_savers_own_that_stays_after_its_thread_is_no_thread_any_more(db):
    saver = InmemSaver(db)
    put(saver, config_of(), {"a": 1})
    db.put("t", "mine", 1)
    saver.delete_thread("t")
    assert db.runs.get_run("t").tags == ()
    assert db.runs.query_runs(tags=["langgraph"]) == []
    # The next thread of that name finds a run that is in use, and leaves it as well.
    put(saver, config_of(), {"a": 1})
    db.kv.delete("t", "mine")
    saver.prune(["t"], strategy="delete")
    assert db.runs.get_run("t").tags == ()


def test_taking_its_tag_off_does_not_make_the_savers_run_somebody_elses(db):
    saver = InmemSaver(db)
    config = put(saver, config_of(), {"a": 1})
    db.runs.remove_tags("t", ["langgraph"])
    put(saver, config, {"a": 2})
    saver.delete_thread("t")
    assert db.runs.get_run("t") is None


def test_a_thread_of_an_earlier_version_whose_run_may_be_anybodys_is_kept(db):
    saver = InmemSaver(db)
    put(saver, config_of(), {"a": 1})
    db.kv.delete("t", "langgraph/registered")
    saver.delete_thread("t")
    assert db.runs.get_run("t").tags == ("langgraph",)
    assert db.kv.list("t") == []


def test_a_copied_thread_lives_on_its_own(db):
    saver = InmemSaver(db)
    parent = put(saver, config_of(), {"a": 1})
    put(saver, parent, {"a": 2}, {"a": 2})
    put(saver, config_of("u"), {"there": "before"}, checkpoint_id="0")
    saver.copy_thread("t", "u")
    saver.delete_thread("t")
    found = list(saver.list(config_of("u")))
    assert [each.checkpoint["channel_values"] for each in found] == [{"a": 2}, {"a": 1}, {"there": "before"}]
    assert found[0].parent_config == found[1].config
    saver.copy_thread("never there", "w")
    assert db.runs.list_runs() == ["u"]


def test_a_bound_saver_sees_its_own_writes_and_stores_nothing_before_the_commit(db):
    saver = InmemSaver(db)
    with db.begin("other") as txn:
        bound = saver.bound(txn)
        config = put(bound, config_of(), {"a": 1})
        bound.put_writes(config, [("a", 2)], "task")
        txn.events.append("seen", {"by": "auditor"})
        assert values_of(bound, config_of()) == {"a": 1}
        assert len(list(bound.list(None))) == 1
        assert saver.get_tuple(config_of()) is None
    assert db.version == 1
    assert saver.get_tuple(config).pending_writes == [("task", "a", 2)]
    assert db.events.len("other") == 1


def test_a_bound_saver_refuses_to_remove(db):
    with db.begin("t") as txn:
        bound = InmemSaver(db).bound(txn)
        for remove in (
            lambda: bound.delete_thread("t"),
            lambda: bound.delete_for_runs(["r"]),
            lambda: bound.prune([]),
        ):
            with pytest.raises(inmem.UsageError, match="a transaction of its own"):
                remove()


def test_what_on_put_writes_belongs_to_the_checkpoint_and_sees_it(db):
    seen = []

    def note(txn, saved):
        seen.append(saved)
        txn.kv.put("last", saved.config["configurable"]["checkpoint_id"])

    saver = InmemSaver(db, on_put=note)
    config = put(saver, config_of(), {"a": 1})
    assert db.version == 1
    assert db.get("t", "last") == config["configurable"]["checkpoint_id"]
    stored = saver.get_tuple(config)
    assert seen == [stored._replace(pending_writes=None)]


def test_on_put_is_given_the_values_as_they_were_put(db):
    seen = []
    saver = InmemSaver(db, on_put=lambda _, saved: seen.append(saved.checkpoint["channel_values"]))
    value = ((1, 2),)
    config = put(saver, config_of(), {"a": value})
    assert seen[0]["a"] is value
    assert values_of(saver, config) == {"a": [[1, 2]]}


def test_a_cancelled_put_has_come_to_its_end_before_the_caller_goes_on(db):
    inside, go_on = threading.Event(), threading.Event()

    def slow(txn, saved):
        inside.set()
        assert go_on.wait(60)

    saver = InmemSaver(db, on_put=slow)

    async def story():
        task = asyncio.ensure_future(saver.aput(config_of(), checkpoint_of({"a": 1}), {}, {"a": 1}))
        assert await asyncio.to_thread(inside.wait, 60)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        return db.version

    assert asyncio.run(story()) == 1


def test_the_event_loop_goes_on_while_a_put_waits(db):
    async def story():
        loop, inside, go_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

        def wait(txn, saved):
            loop.call_soon_threadsafe(inside.set)
            assert go_on.wait(60)

        saver = InmemSaver(db, on_put=wait)
        task = asyncio.ensure_future(saver.aput(config_of(), checkpoint_of({"a": 1}), {}, {"a": 1}))
        await inside.wait()
        go_on.set()
        await task

    asyncio.run(story())
    assert db.version == 1


def test_a_read_only_database_can_be_looked_at(tmp_path):
    with inmem.open(tmp_path / "db") as db:
        put(InmemSaver(db), config_of(), {"a": 1})
    with inmem.open(tmp_path / "db", read_only=True) as db:
        saver = InmemSaver(db)
        assert values_of(saver, config_of()) == {"a": 1}
        assert len(list(saver.list(None))) == 1
        with pytest.raises(inmem.ReadOnlyError):
            put(saver, config_of(), {"a": 2})


def test_allowed_types_and_a_serializer_of_ones_own_exclude_each_other(db):
    with pytest.raises(inmem.UsageError, match="allowed_types"):
        InmemSaver(db, allowed_types=[dict], serde=InmemSaver(db).serde)
