"""The file of an exported run: JSON lines, each chained to the previous line by its hash.

The first line is the header and the last one the trailer. Each line between them holds one item, see run_items.py.

    {"format":"inmem-run","version":1,"run_id":"…","counts":{"runs":1,"keys":…},"line_hash":"…"}
    {"item":"run",…,"line_hash":"…"}
    …
    {"item":"end","lines":…,"line_hash":"…"}

The file is ASCII. The hash of a line is the SHA-256 of the previous line's hash (32 zero bytes for the first line),
followed by the line up to its last comma. So any change, addition, removal or move is detected at its line, and the
trailer's hash is the digest of the whole file. Nothing in the file depends on when or where it was exported.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeAlias

from inmem.engine.errors import FormatVersionError, InvalidValueError, InvariantError, RunFileError, UsageError
from inmem.engine.keys import normalize_run_id
from inmem.engine.limits import TRANSACTION_BYTES_MAX
from inmem.json_values import is_object
from inmem.primitives.arguments import require_callable_or_none
from inmem.primitives.traces import Trace
from inmem.run_items import item_from_json, item_to_json
from inmem.user_file import opened_for_reading, opened_for_writing, write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inmem.database import Database
    from inmem.primitives.run_contents import Item, RunContents
    from inmem.user_file import File

FORMAT: Final = "inmem-run"
VERSION: Final = 1

OnProgress: TypeAlias = "Callable[[int, int], None] | None"

_HASH_MARK: Final = b',"line_hash":"'
_HASH_DIGITS: Final = 64
_LINE_END: Final = b'"}\n'
_TAIL_BYTES: Final = len(_HASH_MARK) + _HASH_DIGITS + len(_LINE_END)
_HEADER_BYTES_MAX: Final = 64 * 1024
"""Far more than a run id and the counts need. Of a file that is not an exported run, no more than this is read."""
_PIECE_BYTES: Final = 1024 * 1024
"""More than most lines have. A longer line is read in pieces of this size and refused at the first piece that is not
printable ASCII, as all lines are: in a file that is not an export, memory could fill up before a line ends."""
_JSON_BYTES_PER_BYTE_MAX: Final = 7
"""JSON bytes per stored byte, at most. The worst case is an empty bytes object in a list: 2 bytes stored, 14 in JSON,
``{"$bytes":""},``. The next is a control character: 1 byte stored, an escape of 6 in JSON."""
LINE_BYTES_MAX: Final = _JSON_BYTES_PER_BYTE_MAX * TRANSACTION_BYTES_MAX + _HEADER_BYTES_MAX
"""No line is longer: one transaction wrote everything that an item holds. The rest is names, times and hashes."""
_COUNTS: Final = ("runs", "keys", "events", "cells", "traces")
_CUT_OFF: Final = "is cut off"
_CHANGED: Final = "was changed, or does not follow the line that is before it"
_OTHER_FORM: Final = "not in the form in which inmem writes it"
_REPORTED: Final = "a function that takes two numbers, what is done and what there is to do"
_PROGRESS_ITEMS: Final = 250
"""Items between two progress reports: a few milliseconds of work."""


@dataclass(frozen=True, slots=True)
class RunExport:
    """What an exported run holds.

    Attributes:
        run_id: its id.
        is_registered: whether it was in the RunIndex.
        keys: number of keys in its KVStore.
        events: number of events in its EventLog.
        cells: number of its StateCells, including deleted ones, because their versions continue.
        traces: number of traces in its TraceStore.
        digest: the hash of the last line in hexadecimal, which covers the file. Kept elsewhere, it later proves that
            the file has not been rewritten.
    """

    run_id: str
    is_registered: bool
    keys: int
    events: int
    cells: int
    traces: int
    digest: str


class _Chain:
    """The hash of the lines so far."""

    def __init__(self) -> None:
        self._hash = bytes(sha256().digest_size)

    def add(self, body: bytes) -> str:
        """Add a line, given up to its last comma, and return its hash."""
        digest = sha256(self._hash)
        digest.update(body)
        self._hash = digest.digest()
        return self._hash.hex()


def write_run(run_id: str, contents: RunContents, file: File, on_progress: OnProgress = None) -> RunExport:
    """Write a run. See `Database.export_run`."""
    require_callable_or_none("on_progress", _REPORTED, on_progress)
    counts = contents.counts()
    total = sum(counts.values())
    chain = _Chain()
    with opened_for_writing(file) as target:

        def write(record: dict[str, Any]) -> str:
            body = _body_of(record)
            digest = chain.add(body)
            write_whole(target, b"".join((body, _HASH_MARK, digest.encode(), _LINE_END)))
            return digest

        write(_header(run_id, counts))
        written = 0
        for item in contents.items():
            _report(on_progress, written, total)
            write(item_to_json(item))
            written += 1
        if written != total:
            # Such a file could not be imported.
            raise InvariantError(f"run {run_id!r}: wrote {written} items, but the header counts {total}")
        digest = write(_trailer(total + 2))
    return _export(run_id, counts, digest)


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run read from a file in which every line matched its hash."""

    path: str
    export: RunExport
    items: list[tuple[int, Item]]
    """Each item with its line number."""
    on_progress: OnProgress

    def put_into(self, db: Database) -> None:
        """Put it into a database in one commit. See `Database.import_run` for the errors."""
        # Serializable, so that anything another client adds to the run during the import is a conflict too.
        db.transaction(self.export.run_id, lambda txn: self._put_back(txn.contents), isolation="serializable")

    def _put_back(self, contents: RunContents) -> None:
        line = 0

        def numbered() -> Iterator[Item]:
            nonlocal line
            for at, (number, item) in enumerate(self.items):
                _report(self.on_progress, at, len(self.items), step=2)
                line = number
                yield item

        try:
            contents.put_back(numbered())
            # Traces are ordered by time. Altered times would move them, and the next export would not equal this file.
            in_order = contents.trace_ids()
            for line, item in self.items:  # noqa: B007  (for the error below)
                if isinstance(item, Trace) and (due := next(in_order)) != item.id:
                    raise UsageError(f"id: the trace {item.id!r} is not in the order of recording, {due!r} comes first")
        except InvalidValueError as error:
            # Reading has shown that some store can hold the value. So it is larger than this store accepts.
            raise InvalidValueError(f"{self.path}, line {line}: {error.path}", error.reason) from error
        except UsageError as error:
            raise RunFileError(self.path, line, str(error)) from error


def read_run(file: File, on_progress: OnProgress = None) -> FoundRun:
    """Read a run and check every line against its hash.

    Raises:
        UsageError: `file` is neither a path nor a file open for reading bytes, or `on_progress` is not callable.
        FormatVersionError: the file is not an exported run, or has a newer format.
        RunFileError: a line is not as it was written.
        OSError: the file cannot be read.
    """
    require_callable_or_none("on_progress", _REPORTED, on_progress)
    with opened_for_reading(file) as source:
        path = str(getattr(source, "name", "the stream"))
        chain = _Chain()
        first = source.readline(_HEADER_BYTES_MAX)
        lines = enumerate(_lines(path, source), 2)
        run_id, counts = _read_header(path, first)
        body, _ = _checked(path, 1, first, chain)
        _check_header(path, body, _header(run_id, counts))
        items: list[tuple[int, Item]] = []
        found = dict.fromkeys(counts, 0)
        total = sum(counts.values())
        for number, line in lines:
            body, digest = _checked(path, number, line, chain)
            record = _parsed(path, number, body)
            if record.get("item") == "end":
                break
            _report(on_progress, len(items), total, step=1)
            try:
                items.append((number, item_from_json(record)))
                found[f"{record['item']}s"] += 1
            except (ValueError, RecursionError) as error:
                raise RunFileError(path, number, str(error)) from error
        else:
            raise RunFileError(path, len(items) + 2, "the file ends without a trailer")
        if body != _body_of(_trailer(number)) or found != counts:
            raise RunFileError(path, number, "the trailer or the header does not count what is there")
        if source.readline(1):
            raise RunFileError(path, number + 1, "something follows the trailer")
    return FoundRun(path, _export(run_id, counts, digest), items, on_progress)


def _header(run_id: str, counts: dict[str, int]) -> dict[str, Any]:
    return {"format": FORMAT, "version": VERSION, "run_id": run_id, "counts": counts}


def _trailer(line_count: int) -> dict[str, Any]:
    return {"item": "end", "lines": line_count}


def _body_of(record: dict[str, Any]) -> bytes:
    """Return the only valid form of a line, up to its last comma."""
    return json.dumps(record, separators=(",", ":"), allow_nan=False).encode()[:-1]


def _read_header(path: str, line: bytes) -> tuple[str, dict[str, int]]:
    try:
        record: Any = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not is_object(record) or record.get("format") != FORMAT:
        is_otlp = is_object(record) and "resourceSpans" in record
        but = ", but traces as OTLP JSON, which is not enough of a run to import" if is_otlp else ""
        raise FormatVersionError(path, f"not a run that inmem has exported{but}")
    version: Any = record.get("version")
    # In JSON, true and 1.0 are not 1, although Python compares them as equal.
    if type(version) is not int or version != VERSION:
        raise FormatVersionError(path, f"an exported run of format {version!r}; this version reads {VERSION}")
    counts: Any = record.get("counts")
    if not is_object(counts) or (*counts,) != _COUNTS or any(type(count) is not int for count in counts.values()):
        raise RunFileError(path, 1, "counts: must say how many runs, keys, events, cells and traces follow")
    try:
        return normalize_run_id(record["run_id"]), counts
    except (KeyError, UsageError) as error:
        raise RunFileError(path, 1, f"run_id: {error}") from error


def _check_header(path: str, body: bytes, header: dict[str, Any]) -> None:
    """Refuse a header that is not byte for byte what an export with the same contents has."""
    for name in _parsed(path, 1, body):
        if name not in header:
            raise RunFileError(path, 1, f"{name}: does not belong here")
    if body != _body_of(header):
        raise RunFileError(path, 1, _OTHER_FORM)


def _lines(path: str, source: BinaryIO) -> Iterator[bytes]:
    """Yield the lines after the header. A line that no export can have written is refused before it fills memory."""
    number = 1
    while line := source.readline(_PIECE_BYTES):
        number += 1
        if not line.endswith(b"\n"):
            line = _long_line(path, number, line, source)
        yield line


def _long_line(path: str, number: int, piece: bytes, source: BinaryIO) -> bytes:
    whole = bytearray()
    while piece:
        whole += piece
        if not piece.isascii() or not piece.decode().removesuffix("\n").isprintable():
            # Perhaps zeros or binary data. Such a line may have no end.
            raise RunFileError(path, number, _CHANGED)
        if len(whole) > LINE_BYTES_MAX:
            raise RunFileError(path, number, "is longer than any line")
        piece = b"" if piece.endswith(b"\n") else source.readline(_PIECE_BYTES)
    if not whole.endswith(b"\n"):
        raise RunFileError(path, number, _CUT_OFF)
    return bytes(whole)


def _checked(path: str, number: int, line: bytes, chain: _Chain) -> tuple[bytes, str]:
    """Return a line up to its last comma, and its hash."""
    body, tail = line[:-_TAIL_BYTES], line[-_TAIL_BYTES:]
    digest = chain.add(body)
    if tail != b"".join((_HASH_MARK, digest.encode(), _LINE_END)):
        raise RunFileError(path, number, _CHANGED if line.endswith(b"\n") else _CUT_OFF)
    return body, digest


def _parsed(path: str, number: int, body: bytes) -> dict[str, Any]:
    try:
        record: Any = json.loads(body + b"}", parse_constant=_refuse_constant)
        again = _body_of(record)
    except (ValueError, RecursionError) as error:
        raise RunFileError(path, number, f"not JSON: {str(error) or type(error).__name__}") from error
    if not is_object(record):
        raise RunFileError(path, number, "not an object")
    if again != body:
        # Blanks, a duplicate name or a number in other digits, for example: an export would not write it this way.
        raise RunFileError(path, number, _OTHER_FORM)
    return record


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _export(run_id: str, counts: dict[str, int], digest: str) -> RunExport:
    return RunExport(
        run_id, counts["runs"] > 0, counts["keys"], counts["events"], counts["cells"], counts["traces"], digest
    )


def _report(on_progress: OnProgress, at: int, total: int, step: int | None = None) -> None:
    """Report that all items before `at` are done, in step 1 or 2 of two, or in the only step if `step` is None."""
    if on_progress is not None and at % _PROGRESS_ITEMS == 0:
        on_progress(at + total if step == 2 else at, total if step is None else 2 * total)
