"""The run id, tags and metadata of a conversation."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inmem.recorder.place import Place

_STEM_CHARS_MAX = 100
_LABEL_CHARS_MAX = 60
"""With these limits a run id stays within the allowed 255 characters."""

_DIGEST_CHARS = 8
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")
_KNOWN_FIELDS = ("task_id", "trial", "reward", "agent", "environment")


def run_id_for(file_name: str, index: int, record: dict[str, Any], content: bytes) -> str:
    """Return the run id of the conversation at `index` of a file, such as ``airline/0007-task-3-trial-0-5f1e2a90``.

    The number distinguishes conversations of one file, even equal ones; the digest distinguishes those of different
    files with the same name. The same conversation has the same id whenever and wherever it is read.

    Args:
        file_name: the name of the file; its stem begins the id.
        index: the position of the conversation in the file, from 0.
        record: the object that holds the conversation; its task, trial or id become part of the run id.
        content: the conversation's bytes in the file.
    """
    stem = _fit(Path(file_name).stem, _STEM_CHARS_MAX)
    label = "".join(f"-{part}" for part in _label_parts(record))[:_LABEL_CHARS_MAX]
    return f"{stem}/{index:04}{label}-{sha256(content).hexdigest()[:_DIGEST_CHARS]}"


def describe(record: dict[str, Any], format_name: str, place: Place) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return the tags and metadata for the run of a conversation.

    Raises:
        TranscriptError: a part of them cannot be stored.
    """
    tags = [format_name]
    task = record.get("task_id")
    if type(task) in (int, str):
        tags.append(f"task-{_fit(str(task), _LABEL_CHARS_MAX)}")
    agent = record.get("agent")
    if type(agent) is str:
        tags.append(f"agent-{_fit(agent, _LABEL_CHARS_MAX)}")
    # A file name may contain undecodable bytes, as surrogates.
    source = place.file_name.encode(errors="replace").decode()
    metadata: dict[str, Any] = {"source": source, "format": format_name}
    known = {name: record[name] for name in _KNOWN_FIELDS if type(record.get(name)) in (int, float, str)}
    place.encoded(known)
    return tuple(tags), metadata | known


def _label_parts(record: dict[str, Any]) -> list[str]:
    parts: list[str] = []
    for name in ("task_id", "trial", "id"):
        value = record.get(name)
        if type(value) is int:
            # A number needs the field's name to be understood; a str does not.
            parts.append(f"{name.removesuffix('_id')}-{value}")
        elif type(value) is str:
            parts.append(_fit(value, _LABEL_CHARS_MAX))
    return parts


def _fit(text: str, chars_max: int) -> str:
    return _UNFIT.sub("-", text)[:chars_max].strip("-") or "x"
