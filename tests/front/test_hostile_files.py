"""Files that somebody has written with correct checksums and bad intent: a named error, and the store lives on."""

import ast
import contextlib
import os
import stat
import tracemalloc
from pathlib import Path

import pytest

import inmem
from inmem.actors.files.folder_disk import FolderDisk
from inmem.engine.keys import Tag, event_key
from inmem.engine.log.log_format import FrameKind, encode_frame
from inmem.engine.log.log_records import TableWrites
from inmem.engine.packing import pack
from inmem.primitives.event_hash import FIRST_PREVIOUS_HASH, event_hash
from tests.engine.log_builder import LogBuilder, put
from tests.engine.memory_disk import MemoryDisk
from tests.fuzz.corpus import BOMBS, seeds
from tests.fuzz.targets import MENDED, TARGETS

ROOT = Path(__file__).parents[2]
BYTES_MAX = 4 * 2**20
"""Generous beside a few hundred bytes of input; what the bombs announce is a thousand times as much."""

REAL_TIME = b"\x00\x05\xf5\xe1\x00\x00\x00\x00" + bytes(20)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "db"


def written(path, *operations):
    """Write a database that holds exactly this, its checksums in order."""
    disk = FolderDisk(str(path))
    log = LogBuilder(disk)
    for operation in operations:
        log.commit(operation)
    log.close()
    disk.close()


def pieces_of_a_log(payload):
    """Return the content of a segment with one intact frame that holds `payload`."""
    disk = MemoryDisk()
    log = LogBuilder(disk)
    log.file.append(encode_frame(FrameKind.COMMIT, 1, 0, payload, log.header.seed))
    log.close()
    return disk.content()


@pytest.mark.parametrize("target", TARGETS)
def test_no_input_of_the_corpus_does_what_must_not_happen(target):
    for data in seeds(target):
        TARGETS[target](data)


@pytest.mark.parametrize("target", ["log", "checkpoint"])
def test_no_prefix_and_no_changed_byte_does_either(target):
    """Mended, so that what is tested is what lies behind the checksums."""
    data = next(data for data in seeds(target) if data[0] == MENDED)
    for at in range(1, len(data)):
        TARGETS[target](data[:at])
        for flip in (1, 0x80):
            TARGETS[target](data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :])


OF_THE_LOG = {
    **{f"bomb {bomb[:6].hex()}": bomb for bomb in BOMBS},
    "too short": b"\x92\x01\x02",
    "too long": b"\x94\x01\x02\x90\x90",
    "negative id": b"\x93\xff\x02\x90",
    "a text for the time": b"\x93\x01\xa1a\x90",
    "a map for the operations": b"\x93\x01\x02\x80",
    "behind the end": b"\x93\x01\x02\x90\x00",
    "a text for a key": b"\x93\x01\x02\x91\x93\xa1r\x01\x91\x93\xa1k\xc4\x00\x00",
    "a number for a value": b"\x93\x01\x02\x91\x93\xa1r\x01\x91\x93\xc4\x01k\x05\x00",
    "a tag too large": b"\x93\x01\x02\x91\x93\xa1r\xcd\x01\x00\x90",
    "a key twice": b"\x93\x01\x02\x91\x93\xa1r\x01\x92\x93\xc4\x01k\xc4\x00\x00\x93\xc4\x01k\xc4\x00\x00",
    "an extension": b"\x93\x01\x02\x91\xd4\x05a",
    "a timestamp": b"\x93\x01\x02\x91\xd6\xff\x00\x00\x00\x00",
    "a bomb of operations": b"\x93\x01\x02\xdd\xff\xff\xff\xff",
    "a bomb of writes": b"\x93\x01\x02\x91\x93\xa1r\x01\xdd\x7f\xff\xff\xff",
    "a bomb of a value": b"\x93\x01\x02\x91\x93\xa1r\x01\x91\x93\xc4\x01k\xc6\xff\xff\xff\xff",
}


@pytest.mark.parametrize("name", OF_THE_LOG)
@pytest.mark.parametrize("read_only", [False, True])
def test_a_commit_that_nobody_could_have_written_is_refused(path, name, read_only):
    FolderDisk(str(path)).close()
    for file, content in pieces_of_a_log(OF_THE_LOG[name]).items():
        (path / file).write_bytes(content)
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    tracemalloc.start()
    try:
        with pytest.raises(inmem.CorruptionError, match=r"\.wal, byte 64: the commit cannot be read"):
            inmem.open(path, read_only=read_only)
        assert tracemalloc.get_traced_memory()[1] < BYTES_MAX
    finally:
        tracemalloc.stop()
    assert {file.name: file.read_bytes() for file in path.iterdir()} | {"LOCK": b""} == before | {"LOCK": b""}


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb[:6].hex())
def test_a_bomb_for_a_value_harms_only_whoever_reads_it(path, bomb):
    """Values are not looked into before they are asked for."""
    written(path, put("run", b"k", bomb), put("run", b"good", b"\x01"))
    with inmem.open(path) as db:
        tracemalloc.start()
        try:
            # A key twice and numbers that take too much room are only refused where values are checked closely.
            with contextlib.suppress(inmem.CorruptionError):
                db.get("run", "k")
            assert tracemalloc.get_traced_memory()[1] < BYTES_MAX
        finally:
            tracemalloc.stop()
        assert db.get("run", "good") == 1


OF_WRONG_TYPES = [pack(("",) * fields) for fields in (3, 5, 6, 8)]
RECORDS = [*OF_WRONG_TYPES, b"", b"\x01", b"\xc1", b"\x90", b"\x93\x01\x02", b"\x80", b"\xa1x", *BOMBS[:6]]
VALUES = (b"\x01", b"\x90", b"\x93\x01\x02", b"\x80", b"\xa1x")
READS = {
    "kv": (Tag.KV, b"\xff\xfe", lambda db: db.kv.list("run")),
    "values": (Tag.KV, b"k", lambda db: db.kv.list_with_values("run")),
    "event": (Tag.EVENT, event_key(0), lambda db: db.events.read("run", 0)),
    "events": (Tag.EVENT, event_key(0), lambda db: db.events.read_range("run", 0, 5)),
    "append": (Tag.EVENT, event_key(0), lambda db: db.events.append("run", "type")),
    "cell": (Tag.STATE, b"c", lambda db: db.cells.read("run", "c")),
    "set": (Tag.STATE, b"c", lambda db: db.cells.set("run", "c", 1)),
    "cells": (Tag.STATE, b"c", lambda db: db.cells.list("run")),
    "trace": (Tag.TRACE, b"t", lambda db: db.traces.get("run", "t")),
    "run": (Tag.RUN, b"", lambda db: db.runs.get_run("run")),
    "complete": (Tag.RUN, b"", lambda db: db.runs.complete_run("run")),
}


@pytest.mark.parametrize("name", READS)
def test_a_record_that_nobody_could_have_written_is_refused_by_name(path, name):
    tag, key, read = READS[name]
    for number, record in enumerate(RECORDS):
        folder = path / str(number)
        written(folder, TableWrites("run", tag, ((key, record, 0),)))
        with inmem.open(folder) as db:
            # Those with a thread of their own arrive in their own time.
            mailboxes = [ref.mailbox for ref in db._client.directory.mailboxes.values() if not ref.mailbox.own_thread]
            actors = [mailbox.actor for mailbox in mailboxes]
            # A value may happen to be one: then it is read.
            if name == "values" and record in (*OF_WRONG_TYPES, *VALUES):
                continue
            with pytest.raises(inmem.CorruptionError):
                read(db)
            assert [mailbox.actor for mailbox in mailboxes] == actors
            assert db.put("other", "k", 1)


def test_verification_names_every_record_that_nobody_could_read(path):
    kind = pack((REAL_TIME, None, "Thought", (), b"\xc1", (b"\xa1x", b"\xc0")))
    state = pack((1, 1, b"\xc1"))
    event = ("type", b"\xc1", 5, FIRST_PREVIOUS_HASH)
    chained = pack((*event, event_hash("run", 0, *event)))
    hostile = {
        (Tag.KV, b"k"): b"\xc1",
        (Tag.KV, b"\xff"): b"\x01",
        (Tag.EVENT, event_key(0)): chained,
        (Tag.STATE, b"c"): state,
        (Tag.STATE, b"d"): b"\x01",
        (Tag.TRACE, b"t"): kind,
        (Tag.RUN, b""): b"\xc1",
    }
    written(path, *(TableWrites("run", tag, ((key, record, 0),)) for (tag, key), record in hostile.items()))
    with inmem.open(path) as db:
        db.kv.put("run", "good", 1)
        found = db.verify()
    assert not found.is_valid
    assert [(tag, key) for _, tag, key, _ in found.unreadable] == sorted(hostile)


def test_a_trace_of_no_known_kind_is_refused_by_name(path):
    records = [
        (REAL_TIME, None, "Unknown", (), b"\x80", ()),
        (REAL_TIME, None, "Thought", (), b"\x80", ()),
        (REAL_TIME, None, "Thought", (), b"\x80", (b"\x01", b"\x01")),
        (REAL_TIME, None, "Thought", (), b"\x80", (1, 2)),
        (b"", None, "Thought", (), b"\x80", (b"\xa1x", b"\xc0")),
        (REAL_TIME, None, "Thought", (), b"\xc1", (b"\xa1x", b"\xc0")),
    ]
    for number, record in enumerate(records):
        written(path / str(number), TableWrites("run", Tag.TRACE, ((b"t", pack(record), 0),)))
        with inmem.open(path / str(number)) as db, pytest.raises(inmem.CorruptionError):
            db.traces.get("run", "t")


# What the source must not contain, and what files must look like.

FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle", "yaml"}
SOURCES = [
    *(ROOT / "actors").rglob("*.py"),
    *(ROOT / "engine").rglob("*.py"),
    *(ROOT / "primitives").rglob("*.py"),
    *(path for path in (ROOT / "inmem").rglob("*.py") if not path.parent.is_symlink()),
]

in_checkout = pytest.mark.skipif(not (ROOT / "engine").is_dir(), reason="the sources are not beside the tests")


@in_checkout
def test_nothing_that_is_read_can_become_code():
    assert len(SOURCES) > 100
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names]
                modules = {
                    name.split(".")[0] for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else names)
                }
                assert not modules & FORBIDDEN_MODULES, source
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in FORBIDDEN_CALLS, source


@in_checkout
def test_paths_are_built_in_one_place_and_from_no_name_of_a_user():
    """Below the front door only the folder's modules join paths, and the names they take are numbers in the end."""
    joining = {"join", "joinpath", "Path", "abspath"}
    for folder in ("actors", "engine", "primitives"):
        for source in (ROOT / folder).rglob("*.py"):
            used = {
                node.attr
                for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute | ast.Name)
                if ast.unparse(node.value) in ("os.path", "os", "pathlib")
            }
            if source.name not in ("folder_disk.py", "folder_lock.py", "folder_view.py", "system_calls.py"):
                assert not used & {*joining, "open", "rename", "unlink", "mkdir"}, source


@pytest.mark.parametrize("hostile", ["../../escape", "/etc/passwd", "a\0b", "LOCK", "000000000001.wal", "." * 200])
def test_no_name_reaches_the_file_system(tmp_path, hostile):
    path = tmp_path / "deep" / "db"
    with inmem.open(path) as db:
        db.put(hostile, hostile, 1)
        db.events.append(hostile, hostile)
        db.cells.init(hostile, hostile, 1)
        db.traces.record_with_options(hostile, inmem.Thought("hm"), id=hostile, tags=[hostile])
        db.begin_run(hostile, tags=[hostile])
        db.checkpoint()
    assert sorted(file.name for file in path.iterdir()) == [
        *["000000000002.checkpoint", "000000000002.wal", "LOCK", "MANIFEST"]
    ]
    assert [file.name for file in tmp_path.rglob("*") if file.is_file() and file.parent != path] == []
    with inmem.open(path) as db:
        assert db.get(hostile, hostile) == db.cells.read(hostile, hostile).value == 1


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_files_are_their_owners_alone_whatever_the_umask(tmp_path, umask):
    path = tmp_path / "made" / "db"
    before = os.umask(umask)
    try:
        with inmem.open(path) as db:
            db.put("run", "k", 1)
            db.checkpoint()
            db.put("run", "k", 2)
    finally:
        os.umask(before)
    for folder in (path, path.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(list(path.iterdir())) == 4
    for file in path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name
