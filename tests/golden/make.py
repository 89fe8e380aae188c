"""Makes the golden databases. Run it once per format: an existing folder is never written again.

    python -m tests.golden.make

`expected.json` beside the files records the state to which they must open, for ever. A new format gets new folders:
those without a number are of format 1; `closed-2` and so on are of format 2, which added marks and the MANIFEST.
"""

import itertools
import json
from pathlib import Path

from inmem.engine.log.log_format import SEGMENT_FORMATS
from inmem.engine.log.log_records import DropRun, TableWrites
from inmem.engine.log.recovery import recover
from tests.engine.log_builder import LogBuilder, put, tables_of
from tests.engine.memory_disk import MemoryDisk

HERE = Path(__file__).parent


def closed(file_format: int) -> MemoryDisk:
    disk = MemoryDisk()
    log = LogBuilder(disk, salt=0x0123456789ABCDEF, file_format=file_format)
    log.commit(put("run-1", b"greeting", b"\xa5hello"), put("run-1", b"\0" * 8, b"\x93\x01\x02\x03", tag=2))
    log.sync()
    if file_format > 1:
        log.mark()
    log.commit(put("läufe", b"", b"\xc0", expires_at_us=1_800_000_000_000_000))
    log.commit(put("run-1", b"greeting", None))
    log.close()
    log = LogBuilder(disk, salt=0xFEDCBA9876543210, skip_versions=5, file_format=file_format)
    log.commit(TableWrites("", 0x15, ((b"run-1", b"\x01", 0), (b"run-2", b"\x02", 0))))
    log.close()
    return disk


def crashed(file_format: int) -> MemoryDisk:
    disk = MemoryDisk()
    log = LogBuilder(disk, salt=1, file_format=file_format)
    log.commit(put("run-1", b"a", b"\x01"))
    log.sync()
    log.roll()
    log.commit(put("run-1", b"b", b"\x02"), DropRun("run-2"))
    if file_format > 1:
        log.mark()
    log.commit(put("run-1", b"c", b"\x03" * 40))
    disk.truncate(log.name, log.file.size - 7)
    return disk


def checkpoint(file_format: int) -> MemoryDisk:
    disk = MemoryDisk()
    log = LogBuilder(disk, salt=2**64 - 1, file_format=file_format)
    log.commit(put("run-1", b"a", b"\x01"), put("run-2", b"a", b"\x02"))
    log.commit(put("run-1", b"a", None), put("run-1", b"b", b"\xcb\x7f\xf8\0\0\0\0\0\0", expires_at_us=9))
    log.checkpoint()
    log.commit(DropRun("run-2"), put("run-2", b"z", b"\xc3"))
    log.close()
    return disk


def expectation(disk: MemoryDisk) -> dict[str, object]:
    recovered, position = recover(disk, 2)
    return {
        "version": recovered.version,
        "transaction_id_max": recovered.transaction_id_max,
        "time_floor_us": recovered.time_floor_us,
        "outcomes": [[*transaction, version] for transaction, version in recovered.outcomes.items()],
        "outcomes_since": recovered.outcomes_since,
        "position": [position.segment, position.end, position.version, position.is_clean],
        "torn": [list(torn[:3]) for torn in position.torn],
        "tables": [
            [
                run,
                tag,
                [
                    [key.hex(), version, value and value.hex(), expiry]
                    for key, (version, value, expiry) in table.items()
                ],
            ]
            for (run, tag), table in sorted(tables_of(recovered).items())
        ],
    }


def main() -> None:
    for file_format, make in itertools.product(SEGMENT_FORMATS, (closed, crashed, checkpoint)):
        folder = HERE / (make.__name__ if file_format == 1 else f"{make.__name__}-{file_format}")
        if folder.exists():
            continue
        folder.mkdir()
        disk = make(file_format)
        for name, content in disk.content().items():
            (folder / name).write_bytes(content)
        text = json.dumps(expectation(disk), ensure_ascii=False, indent=1)
        (folder / "expected.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
