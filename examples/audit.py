"""An audit: does every run still hold the events that were appended, in the same order?

The auditor verifies a database and records the hash of each run's last event elsewhere. A forger then tampers with
copies of the database in three ways. Each is detected:

1. The forger changes a byte of a file: the database does not open.
2. The forger also fixes the checksums, following docs/log-format.md: the database opens, but the hash chain is broken.
3. The forger rewrites the whole history: the chain is valid, but its last hash differs from the recorded one.

    python examples/audit.py
"""

import shutil
import struct
import tempfile
import zlib
from pathlib import Path

import inmem

PAYMENTS = {"march": [120, 80, 640], "april": [75, 310]}
FORGED_PAYMENTS = {**PAYMENTS, "march": [120, 80, 940]}

# The payloads {"amount": 640} and {"amount": 940} in msgpack; see docs/primitives/events.md.
OLD, NEW = b"\xa6amount\xcd\x02\x80", b"\xa6amount\xcd\x03\xac"


def record(path: Path, payments: dict[str, list[int]]) -> None:
    with inmem.open(path) as db:
        for run, amounts in payments.items():
            db.begin_run(run)
            for amount in amounts:
                db.events.append(run, "payment", {"amount": amount})
            db.end_run(run)


def audit(path: Path) -> dict[str, bytes]:
    """Print an error for each run whose chain is broken; return the last event's hash for every other run."""
    heads: dict[str, bytes] = {}
    with inmem.open(path, create=False) as db:
        for run in db.runs.list_runs():
            chain = db.events.verify_chain(run)
            head = db.events.head(run)
            if chain.is_valid and head is not None:
                heads[run] = head.hash
            else:
                print(f"   {run}: {chain.error}")
        assert db.verify().is_valid == (len(heads) == len(PAYMENTS))
    return heads


def forge(path: Path, *, mend_checksums: bool) -> None:
    """Change an amount in the log. With `mend_checksums`, also recompute the checksums of every frame."""
    [segment] = (file for file in path.glob("*.wal") if OLD in file.read_bytes())
    data = bytearray(segment.read_bytes().replace(OLD, NEW, 1))
    seed = zlib.crc32(data[16:32])
    at = 64
    while mend_checksums and at < len(data):
        [length] = struct.unpack_from("<I", data, at + 4)
        end = at + 32 + length
        struct.pack_into("<I", data, at + 24, zlib.crc32(data[at + 32 : end], seed))
        struct.pack_into("<I", data, at + 28, zlib.crc32(data[at : at + 28], seed))
        at = end
    segment.write_bytes(data)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        original = Path(folder, "payments.db")
        record(original, PAYMENTS)
        heads = audit(original)
        print("0. the original is intact; the auditor saves the last hash of each run:", ", ".join(heads))
        assert heads.keys() == PAYMENTS.keys()

        print("1. a forger changes a byte in a copy")
        damaged = Path(shutil.copytree(original, Path(folder, "damaged.db")))
        forge(damaged, mend_checksums=False)
        try:
            audit(damaged)
        except inmem.CorruptionError as error:
            print(f"   refused: {Path(error.path).name} is damaged")
        else:
            raise AssertionError("a database opened although a byte was changed")

        print("2. the forger changes a byte in a copy and fixes all checksums")
        forged = Path(shutil.copytree(original, Path(folder, "forged.db")))
        forge(forged, mend_checksums=True)
        assert audit(forged) == {"april": heads["april"]}
        with inmem.open(forged) as db:
            event = db.events.read("march", 2)
            assert event is not None
            assert event.payload == {"amount": 940}
            assert db.events.verify_chain("march").first_invalid == 2

        print("3. the forger rewrites the whole history with another amount")
        rewritten = Path(folder, "rewritten.db")
        record(rewritten, FORGED_PAYMENTS)
        new_heads = audit(rewritten)
        assert new_heads.keys() == PAYMENTS.keys()
        assert new_heads["march"] != heads["march"]
        print("   march: the chain is valid, but its last hash is not the saved one")

        assert audit(original) == heads
        print("the original is unchanged")


if __name__ == "__main__":
    main()
