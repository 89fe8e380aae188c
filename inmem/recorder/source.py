"""Transcript files: detect the format and yield the conversations one by one.

The content decides the format, not the file name:

| content | format | conversations |
|---|---|---|
| a JSON list of objects with "traj" or "messages" | chat-runs | one per item |
| a JSON object with "traj" or "messages" | chat-runs | one |
| a JSON list of objects with "role" | chat-messages | one |
| a JSON object with "trajectory" | trajectory | one |
| one JSON object with "traj" or "messages" per line | chat-runs | one per line |
| one JSON object with "role" per line | chat-messages | one |

Conversations are yielded as they are read, so an error in one does not prevent the recording of those before it.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inmem.json_values import is_object
from inmem.recorder.answered_calls import with_calls_found
from inmem.recorder.chat import read_message
from inmem.recorder.identity import describe, run_id_for
from inmem.recorder.json_text import decode_utf8, read_items, read_value, skip_blank
from inmem.recorder.place import LIST, OBJECT, Place, TranscriptError
from inmem.recorder.trajectory import exit_error, read_trajectory
from inmem.recorder.transcript import Conversation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from inmem.recorder.transcript import Message

STANDARD_INPUT = "-"
_NAMELESS = "stream"
"""The name for files without a meaningful name."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MESSAGE_LISTS = ("traj", "messages")
_NOTHING_KNOWN = 'neither a message with "role", nor a conversation with "messages" or "traj", nor a "trajectory"'


@dataclass(frozen=True, slots=True)
class TranscriptFile:
    """A transcript file that has been read: a pipe can be read only once.

    Attributes:
        place: the file, for errors and for the names of its runs.
        data: its content.
    """

    place: Place
    data: bytes

    def __str__(self) -> str:
        return self.place.path


def read_file(path: str | Path) -> TranscriptFile:
    """Read a transcript file, without looking at its content.

    The path ``-`` is the standard input. Runs are named after regular files only: the name of a pipe may contain the
    number of a descriptor, which changes each time.

    Raises:
        TranscriptError: the file cannot be read.
    """
    is_stdin = path == STANDARD_INPUT
    try:
        # Unbuffered: the file is read in one go, and an exiting interpreter need not wait for a thread still reading.
        with open(0 if is_stdin else path, "rb", buffering=0, closefd=not is_stdin) as file:
            is_named = not is_stdin and stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            data = file.read().removeprefix(_BYTE_ORDER_MARK)
    except OSError as error:
        raise Place(str(path)).error(f"cannot be read: {error.strerror}") from None
    return TranscriptFile(Place(str(path), file_name=Path(path).name if is_named else _NAMELESS), data)


def read_conversations(file: str | Path | TranscriptFile) -> Iterator[Conversation]:
    """Yield the conversations of a transcript file as they are read. O(file size) in memory.

    Raises:
        TranscriptError: the file cannot be read, or its content is invalid. The conversations before the error have
            been yielded.
    """
    read = file if isinstance(file, TranscriptFile) else read_file(file)
    if not read.data.strip():
        raise read.place.error("the file is empty")
    return _conversations(read.data, read.place)


def fault_of(file: str | Path | TranscriptFile) -> str | None:
    """Return why no conversation of a file can be recorded, or None if at least one can."""
    try:
        first = next(read_conversations(file), None)
    except TranscriptError as error:
        return str(error)
    return f"{file}: there is no conversation in it" if first is None else None


def _conversations(data: bytes, place: Place) -> Iterator[Conversation]:
    first_line = _first_object(data)
    if first_line is not None and "trajectory" not in first_line:
        yield from _from_lines(data, first_line, place)
        return
    text = decode_utf8(data, place)
    start = skip_blank(text, 0)
    if text.startswith("[", start):
        yield from _from_list(text, start, place)
        return
    record = place.expect(read_value(text, place), OBJECT)
    if "trajectory" in record:
        messages = tuple(read_trajectory(record, place))
        yield _conversation("trajectory", 0, record, messages, text, place, exit_error(record, place))
    else:
        yield _from_object(0, record, text, place)


def _from_list(text: str, start: int, place: Place) -> Iterator[Conversation]:
    messages: list[Message] = []
    for index, value, source in read_items(text, start, place):
        here = place.at(f"item {index}")
        record = here.expect(value, OBJECT)
        if messages or (index == 0 and "role" in record):
            messages.append(read_message(record, here))
        else:
            yield _from_object(index, record, source, here)
    if messages:
        yield _conversation("chat-messages", 0, {}, tuple(messages), text, place)


def _from_lines(data: bytes, first: dict[str, Any], place: Place) -> Iterator[Conversation]:
    lines = ((place.at(f"line {number}"), line) for number, line in _lines(data) if line.strip())
    values = ((here, decode_utf8(line, here)) for here, line in lines)
    if "role" in first:
        messages = tuple([read_message(read_value(text, here), here) for here, text in values])
        yield _conversation("chat-messages", 0, {}, messages, data.decode(), place)
        return
    for index, (here, text) in enumerate(values):
        yield _from_object(index, here.expect(read_value(text, here), OBJECT), text, here)


def _from_object(index: int, record: dict[str, Any], source: str, place: Place) -> Conversation:
    name = next((name for name in _MESSAGE_LISTS if name in record), None)
    if name is None:
        raise place.error(_NOTHING_KNOWN)
    values: list[object] = place.field(record, name, LIST)
    messages = tuple([read_message(value, place.at(f"{name}[{at}]")) for at, value in enumerate(values)])
    # Some transcripts have an empty string in place of no error.
    error = place.optional(record, "error", str) or None
    reward = place.optional_number(record, "reward")
    if error is None and reward is not None and not reward > 0:
        error = f"the task was not solved: reward {reward:g}"
    elif error is not None:
        place.encoded({"error": error})
    return _conversation("chat-runs", index, record, messages, source, place, error)


def _conversation(
    format_name: str,
    index: int,
    record: dict[str, Any],
    messages: Iterable[Message],
    source: str,
    place: Place,
    error: str | None = None,
) -> Conversation:
    messages = tuple(with_calls_found(messages))
    tags, metadata = describe(record, format_name, place)
    content = source.strip().encode()
    metadata["messages"] = len(messages)
    metadata["tool_calls"] = sum(len(message.calls) for message in messages)
    run_id = run_id_for(place.file_name, index, record, content)
    return Conversation(run_id, messages, len(content), tags, metadata, error)


def _first_object(data: bytes) -> dict[str, Any] | None:
    """Return the JSON object on the first non-blank line, or None if that line is not one complete object."""
    line = next(line for _, line in _lines(data) if line.strip())
    try:
        value: Any = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    return value if is_object(value) else None


def _lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    start = 0
    number = 1
    while start < len(data):
        end = data.find(b"\n", start)
        if end < 0:
            end = len(data)
        yield number, data[start:end]
        start = end + 1
        number += 1
