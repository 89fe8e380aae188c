"""The order in which a store touches its disk, over a whole life: what a power failure takes depends on it."""

from pathlib import Path

import pytest

import inmem
from inmem.engine.log import group_commit
from inmem.engine.log.log_folder import segment_name
from tests.actors.faulty_disk import FaultyDisk, open_on


def check_order(history: list[tuple[str, str]]) -> dict[str, int]:
    """Check each operation against those before it; returns how often each rule had something to say.

    The log disk and the checkpointer work beside each other, so what one of them has under way when the other removes
    a file is no mistake: what counts is whether that which makes the file needless is durable.
    """
    unsynced_content: set[str] = set()
    unsynced_names: set[str] = set()
    rules = {"named when durable": 0, "removed when durable": 0, "written when named": 0, "names synced": 0}
    header_only: set[str] = set()
    segments: set[str] = set()
    named_by_manifest: set[str] = set()
    durable: set[str] = set()
    for at, (operation, name) in enumerate(history):
        match operation:
            case "create":
                unsynced_content.add(name)
                unsynced_names.add(name)
                header_only.add(name)
                if name.endswith(".wal"):
                    segments.add(name)
            case "append":
                if name.endswith(".wal") and name not in header_only:
                    assert name not in unsynced_names, f"{at}: a commit goes to {name} before its name is durable"
                    assert "MANIFEST" not in unsynced_names, (
                        f"{at}: a commit goes to {name} before the manifest knows it"
                    )
                    rules["written when named"] += 1
                header_only.discard(name)
                unsynced_content.add(name)
            case "sync":
                unsynced_content.discard(name)
            case "rename":
                old = f"{name}.tmp"
                assert old not in unsynced_content, f"{at}: {name} gets its name before its content is durable"
                rules["named when durable"] += 1
                unsynced_names.discard(old)
                unsynced_names.add(name)
                if name == "MANIFEST":
                    named_by_manifest = set(segments)
                elif name.endswith(".wal"):
                    segments.add(name)
            case "remove":
                if name.endswith((".wal", ".checkpoint")):
                    later = {other for other in durable if other > name}
                    assert any(other.endswith(".checkpoint") for other in later), (
                        f"{at}: {name} goes before a checkpoint that covers it is durable"
                    )
                    assert any(other.endswith(".wal") for other in later), (
                        f"{at}: {name} goes before the manifest durably names a later segment"
                    )
                    rules["removed when durable"] += 1
                durable.discard(name)
                segments.discard(name)
                unsynced_names.add(name)
                unsynced_content.discard(name)
            case "sync_names":
                rules["names synced"] += bool(unsynced_names)
                durable |= {other for other in unsynced_names if other.endswith(".checkpoint")}
                if "MANIFEST" in unsynced_names:
                    durable |= named_by_manifest
                unsynced_names.clear()
            case "truncate":
                # Durable by itself; the copy of what is cut off, and its name, came first.
                assert not unsynced_names, f"{at}: {name} is cut before what is cut off is durable elsewhere"
                unsynced_content.discard(name)
            case _:
                pass
    assert not unsynced_names, "names were left to chance"
    return rules


@pytest.mark.parametrize("durability", ["always", "interval", "never"])
def test_every_name_is_durable_before_anything_relies_on_it(tmp_path: Path, monkeypatch, durability):
    monkeypatch.setattr(group_commit, "SEGMENT_BYTES_MAX", 1500)
    path = tmp_path / "db"
    history: list[tuple[str, str]] = []
    for opening in range(3):
        disk = FaultyDisk(path)
        with open_on(disk, durability=durability) as db:
            for number in range(20):
                db.put("run", f"{opening}-{number}", "v" * 50)
            db.checkpoint()
            db.put("run", "last", opening)
        history += disk.history
        # The next opening finds a torn tail, an unfinished file, and a segment whose creation was interrupted.
        last = max(path.glob("*.wal"))
        with last.open("ab") as file:
            file.write(b"\xd5\xf7torn")
        (path / "000000000999.checkpoint.tmp").write_bytes(b"half")
        (path / segment_name(int(last.stem) + 1)).write_bytes(b"INM")
    rules = check_order(history)
    assert all(rules.values()), rules
    assert rules["removed when durable"] >= 6
    with inmem.open(path) as db:
        assert (db.get("run", "last"), db.version) == (2, 63)


SEGMENTS_1_AND_2 = [
    ("create", "1.wal"),
    ("create", "2.wal"),
    ("sync", "1.wal"),
    ("sync", "2.wal"),
    ("create", "MANIFEST.tmp"),
    ("sync", "MANIFEST.tmp"),
    ("rename", "MANIFEST"),
    ("sync_names", ""),
]
CHECKPOINT_2 = [("create", "2.checkpoint.tmp"), ("sync", "2.checkpoint.tmp"), ("rename", "2.checkpoint")]


def test_one_thread_may_remove_what_a_checkpoint_covers_while_another_writes_the_manifest():
    check_order(
        [
            *SEGMENTS_1_AND_2,
            *CHECKPOINT_2,
            ("sync_names", ""),
            ("create", "MANIFEST.tmp"),
            ("remove", "1.wal"),
            ("sync_names", ""),
        ]
    )


@pytest.mark.parametrize(
    "mistaken",
    [
        [("create", "2.wal"), ("append", "2.wal"), ("sync", "2.wal"), ("append", "2.wal")],
        [("create", "x.tmp"), ("append", "x.tmp"), ("rename", "x"), ("sync_names", "")],
        [*SEGMENTS_1_AND_2, *CHECKPOINT_2, ("remove", "1.wal"), ("sync_names", "")],
        [*SEGMENTS_1_AND_2, *CHECKPOINT_2, ("sync_names", ""), ("remove", "2.wal"), ("sync_names", "")],
        [*SEGMENTS_1_AND_2, ("sync_names", ""), ("remove", "1.wal"), ("sync_names", "")],
        [*CHECKPOINT_2, ("sync_names", ""), *SEGMENTS_1_AND_2[:-1], ("remove", "1.wal"), ("sync_names", "")],
        [("remove", "1.wal")],
        [("create", "1.wal.torn-9"), ("sync", "1.wal.torn-9"), ("truncate", "1.wal"), ("sync_names", "")],
    ],
)
def test_the_rules_notice_a_mistake(mistaken):
    with pytest.raises(AssertionError):
        check_order(mistaken)
