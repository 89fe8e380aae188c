"""What `print` shows of a verification and of counters: lines for people. Their repr has every field."""

import subprocess
import sys

import inmem
from inmem.engine.errors import CorruptionError
from inmem.engine.keys import Tag
from inmem.engine.log.recovery import TornFile
from inmem.engine.log.verification import KeptAside, VerifyReport
from inmem.primitives.event_chain import ChainVerification
from inmem.primitives.orphans import Orphan
from inmem.primitives.unreadable import UnreadableRecord


def test_a_sound_verification_reads_as_the_command_prints_it(tmp_path):
    with inmem.open(tmp_path / "db") as db:
        db.events.append(db.begin_run(), "type")
    with inmem.open(tmp_path / "db", read_only=True) as db:
        found = db.verify()
    command = [sys.executable, "-m", "inmem", "verify", tmp_path / "db"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert [line.rstrip() for line in printed.splitlines()] == str(found).splitlines()
    assert repr(found).startswith("Verification(is_valid=True, version=2, files=VerifyReport(")


def test_a_database_in_memory_has_no_files_to_tell_of():
    with inmem.open(":memory:") as db:
        assert str(db.verify()) == "chains  ok  0 events in 0 chains"


def test_everything_that_is_wrong_has_a_line():
    problem = CorruptionError("db/000000000001.wal", 64, "the payload does not match its checksum")
    torn = TornFile("000000000002.wal", 99, 12, "no frame")
    files = VerifyReport(False, 0, 2, 1, 1, 0, 1_500, (torn,), (KeptAside("000000000001.wal.torn-70", 5),), (problem,))
    broken = ("run\n1", ChainVerification(False, 2, 1, "event 1: the hash is wrong"))
    unreadable = UnreadableRecord("run", Tag.STATE, b"c", "no map")
    indices = (("run", Tag.EVENT_INDEX), ("", Tag.RUN_ACTIVE))
    orphan = Orphan("run", "t2", "t1")
    found = inmem.Verification(False, 7, files, (problem,), 1, 2, (broken,), indices, (unreadable,), (orphan,))
    assert str(found).splitlines() == [
        "files    damaged  2 segments, 1 checkpoint, 1 commit in the log, 1.5 kB",
        f"         {problem}",
        "         torn  000000000002.wal, byte 99: 12 bytes, no frame",
        "         aside  000000000001.wal.torn-70, 5 bytes: what an interrupted write had left, cut off at an opening",
        "chains   damaged  2 events in 1 chain",
        r"         'run\n1': event 1: the hash is wrong",
        f"         'run': index {Tag.EVENT_INDEX:#x} does not agree with its records",
        f"         all runs: index {Tag.RUN_ACTIVE:#x} does not agree with its records",
        "records  damaged  1 record that cannot be read",
        "         'run': state b'c': no map",
        "traces   damaged  1 trace whose parent is lost: no tree shows them",
        "         'run': 't2' was recorded below 't1'",
    ]


def test_counters_have_a_line_each():
    counters = inmem.Stats(
        version=1234,
        commits=1200,
        aborts=3,
        conflicts={"read": 2, "write": 1, "cas": 0},
        retries=2,
        conflict_rate=0.0025,
        group_sizes={1: 100, 11: 100},
        in_flight=1,
        active_transactions=2,
        oldest_snapshot_version=1200,
        oldest_snapshot_age_s=1.26,
        queue_depths={"kv": 3, "events": 0},
        keys=4000,
        runs=12,
    )
    assert str(counters).splitlines() == [
        "version       1,234",
        "commits       1,200, logged in 200 groups",
        "aborts        3",
        "retries       2",
        "conflicts     2 read, 1 write; 0.2% of the commits refused",
        "transactions  2 active, the oldest for 1.3 s at version 1,200; 1 being committed",
        "waiting       3 for kv",
        "entries       4,000, including index entries",
        "runs          12",
    ]
    assert repr(counters).startswith("Stats(version=1234, commits=1200, ")


def test_counters_of_a_store_at_rest():
    with inmem.open(":memory:") as db:
        lines = str(db.stats()).splitlines()
    assert lines[4:7] == [
        "conflicts     none; 0.0% of the commits refused",
        "transactions  0 active; 0 being committed",
        "waiting       nothing",
    ]
