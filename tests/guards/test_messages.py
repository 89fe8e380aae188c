"""How many messages a commit costs: a message more on this path is a few per cent of every commit."""

import inmem
from tests.guards.counting import messages

COMMIT = [
    ("coordinator", "Commit"),
    ("shard-0", "Validate"),
    ("coordinator", "Validated"),
    ("log-writer", "Append"),
    ("coordinator", "Appended"),
    ("shard-0", "Apply"),
    ("coordinator", "Applied"),
]


def increment(txn):
    txn.put("k", (txn.get("k") or 0) + 1)


def test_a_transaction_takes_one_message_to_begin_and_seven_to_commit():
    with inmem.open(":memory:") as db, messages() as delivered:
        db.transaction("r", increment)
    assert delivered[:8] == [("coordinator", "Begin"), *COMMIT]


def test_the_log_adds_no_message_where_nothing_waits_for_a_sync(tmp_path):
    with inmem.open(tmp_path, durability="never") as db:
        db.put("r", "k", 0)
        with messages() as delivered:
            db.transaction("r", increment)
    assert delivered == [("coordinator", "Begin"), *COMMIT]


def test_a_durable_commit_adds_the_sync_and_its_end(tmp_path):
    with inmem.open(tmp_path) as db:
        db.put("r", "k", 0)
        with messages() as delivered:
            db.transaction("r", increment)
    assert sorted(delivered) == sorted(
        [("coordinator", "Begin"), *COMMIT, ("log-disk", "Sync"), ("log-writer", "Synced")]
    )


def test_a_request_to_a_primitive_actor_adds_the_request_and_the_decision():
    with inmem.open(":memory:") as db, messages() as delivered:
        db.put("r", "k", 1)
    assert delivered[:9] == [("kv", "PutKey"), *COMMIT, ("kv", "CommitDecided")]


def test_each_further_shard_adds_four_messages():
    with inmem.open(":memory:", shards=4) as db:
        runs = {}
        for number in range(100):
            runs.setdefault(inmem_shard(f"run-{number}"), f"run-{number}")
        txn = db.begin(runs[0])
        txn.on(runs[1]).kv.put("k", 1)
        txn.kv.put("k", 1)
        with messages() as delivered:
            txn.commit()
    assert len(delivered) == len(COMMIT) + 4


def inmem_shard(run: str) -> int:
    from inmem.engine.keys import shard_of

    return shard_of(run, 4)


def test_reads_send_nothing():
    with inmem.open(":memory:") as db:
        db.put("r", "k", 1)
        txn = db.begin("r")
        with messages() as delivered:
            db.get("r", "k")
            db.kv.list("r")
            txn.get("k")
            list(txn.scan(""))
        txn.abort()
    assert delivered == []


def test_ten_thousand_keys_in_one_transaction_cost_the_messages_of_one():
    with inmem.open(":memory:") as db:
        txn = db.begin("r")
        for number in range(10_000):
            txn.put(str(number), number)
        with messages() as delivered:
            txn.commit()
    assert delivered == COMMIT
