"""The findings of a verification as text: `print` shows them plainly, `inmem verify` in columns and colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from inmem.amounts import counted, size
from inmem.engine.keys import Tag

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inmem.engine.log.verification import VerifyReport
    from inmem.verification import Verification

Verdict = Literal["ok", "damaged", "torn", "aside", "unknown", ""]


class Finding(NamedTuple):
    """One line: the subject, or "" for a line that continues it; the verdict; and one or more facts."""

    subject: str
    verdict: Verdict
    facts: tuple[str, ...]


def findings_of_files(files: VerifyReport) -> Iterator[Finding]:
    """Yield the findings from reading the files: the totals, then everything that is wrong."""
    facts = (
        *([f"version {files.version:,}"] if files.version else []),
        counted(files.segments, "segment"),
        counted(files.checkpoints, "checkpoint"),
        # The commits that a checkpoint covers are no longer counted: the log before it is removed.
        f"{counted(files.commits, 'commit')} in the log",
        size(files.size_bytes),
    )
    yield Finding("files", _verdict(is_sound=not files.problems), facts)
    for problem in files.problems:
        yield Finding("", "", (str(problem),))
    for torn in files.torn:
        yield Finding("", "torn", (f"{torn.name}, byte {torn.offset}: {torn.size} bytes, {torn.reason}",))
    for aside in files.kept_aside:
        told = f"{aside.name}, {aside.size} bytes: what an interrupted write had left, cut off at an opening"
        yield Finding("", "aside", (told,))


def findings_of_state(found: Verification) -> Iterator[Finding]:
    """Yield the findings from checking the state: the chains, then everything else that is wrong."""
    checked = f"{counted(found.events, 'event')} in {counted(found.chains, 'chain')}"
    yield Finding("chains", _verdict(is_sound=not (found.broken_chains or found.wrong_indices)), (checked,))
    for run, chain in found.broken_chains:
        yield Finding("", "", (f"{run!r}: {chain.error}",))
    for run, tag in found.wrong_indices:
        whose = repr(run) if run else "all runs"
        yield Finding("", "", (f"{whose}: index {tag:#x} does not agree with its records",))
    if found.unreadable:
        yield Finding("records", "damaged", (f"{counted(len(found.unreadable), 'record')} that cannot be read",))
    for run, tag, key, reason in found.unreadable:
        yield Finding("", "", (f"{run!r}: {Tag(tag).name.lower()} {key!r}: {reason}",))
    if found.orphans:
        lost = f"{counted(len(found.orphans), 'trace')} whose parent is lost: no tree shows them"
        yield Finding("traces", "damaged", (lost,))
    for run, trace, parent in found.orphans:
        yield Finding("", "", (f"{run!r}: {trace!r} was recorded below {parent!r}",))


def _verdict(*, is_sound: bool) -> Verdict:
    return "ok" if is_sound else "damaged"
