"""The steps of a run as text and as a Mermaid diagram: all of them, or those of its clients and users' actors."""

from __future__ import annotations

import re
import textwrap
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from inmem.actors.messages.control import Connect, Open, Resume
from inmem.actors.requests.primitive_actors import PRIMITIVE_ACTORS
from inmem.engine.codec import Encoded, decode_value
from inmem.engine.commits.transaction import CommitRequest
from inmem.engine.keys import Key, Tag
from inmem.invisible import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

SHOWN_FIELDS_MAX = 4
SHOWN_CHARS_MAX = 60
TEXT_CHARS_MAX = 84
"""Length of one message's text, commits aside. It then fits on one line behind the names of the store's actors."""
LINE_CHARS_MAX = 120
_FACT_CHARS_MIN = 20
"""A fact gets at least this much room, however many precede it."""
SHOWN_LEVELS_MAX = 8
"""How deeply a value that is shown may be nested. A value that contains itself has no end."""

STORY_STEPS_MAX = 200
"""A longer story is cut in the middle: what repeats there is no help, and no browser draws it."""
FIRST_STEPS = 40
LAST_STEPS = 20
"""The first and last steps that are kept of a longer story."""

WORLD = "world"
DISK = "disk"
TIMER = "timer"
MAIN = "main"

_STORES_OWN = re.compile(
    r"(?:.*/)?(?:supervisor|coordinator|shard-\d+|log-writer|log-disk|checkpointer|reaper|watches"
    rf"|{'|'.join(PRIMITIVE_ACTORS)})|{WORLD}|{DISK}|{TIMER}",
    re.DOTALL,
)
"""The names of a store's actors, behind that of their database if there are several; and world, disk and timer."""

_START_UP = (Resume, Open, Connect)
_PLAIN = (bool, int, float, str)
_LEAVES = (*_PLAIN, bytes, type(None))
_PARTED: frozenset[type[Any]] = frozenset((list, tuple, dict))


class Words(str):
    """Text in place of a message that cannot leave the process. It is shown as the message was."""

    __slots__ = ()


class OwnLine(Words):
    """A line that the scenario or a client has added to the trace."""

    __slots__ = ()


class Answer(NamedTuple):
    """The answer to a question."""

    value: Any


class Step(NamedTuple):
    """One event of a run.

    Attributes:
        sender: an actor, a client, "main", "timer", "disk" or "world".
        receiver: who got it; the same as the sender for an event that concerns only one.
        what: a message, an `Answer`, or plain text. Formatted only when it is read.
    """

    sender: str
    receiver: str
    what: Any

    @property
    def text(self) -> str:
        """The event in one line, without anything that differs between processes."""
        return printable(self.what if type(self.what) is str else describe(self.what))

    def __str__(self) -> str:
        return f"{self.sender} -> {self.receiver}: {self.text}"


def describe(message: Any) -> str:
    """Return a message in one short line: its type, and its fields that are plain facts.

    Objects are left out, so that the same run gives the same text in every process.
    """
    if isinstance(message, Answer):
        return f"answers {describe(message.value)}"
    if isinstance(message, Words):
        return str(message)
    if message is None or type(message) in _PLAIN:
        return _short(message)
    if isinstance(message, BaseException):
        return f"{type(message).__name__}({_short(str(message))})"
    if type(message) in (list, tuple, dict, set, frozenset):
        return _value(message)
    kind = type(message).__name__
    facts: list[str] = []
    room = TEXT_CHARS_MAX - len(kind) - 2
    for name in _field_names(message):
        if len(facts) < SHOWN_FIELDS_MAX and (fact := _fact(name, getattr(message, name, None), room)):
            facts.append(fact)
            room -= len(fact) + 2
    return f"{kind}({', '.join(facts)})"


def is_taken(name: str) -> bool:
    """Return whether a name is reserved in every simulation, so that no client can have it."""
    return _STORES_OWN.fullmatch(name) is not None


def story(steps: Sequence[Step], outsiders: Collection[str]) -> list[Step]:
    """Return what the clients and the users' own actors did and were told, and every line of the users' own.

    Steps inside the store are left out, and so is what else the scenario itself did before and after the run.
    """
    told = {*outsiders, WORLD} - {MAIN}
    return [step for step in steps if step.sender in told or step.receiver in told or isinstance(step.what, OwnLine)]


def without_start_up(steps: Sequence[Step]) -> list[Step]:
    """Return the steps except those that start actors."""
    return [step for step in steps if not isinstance(step.what, _START_UP)]


def in_words(steps: Sequence[Step]) -> list[Step]:
    """Return the steps with text in place of messages, which hold files and threads. They look the same."""
    return [
        step._replace(what=Answer(Words(describe(step.what.value))) if isinstance(step.what, Answer) else step.text)
        for step in steps
    ]


def as_text(steps: Sequence[Step], *, whole: bool = True) -> str:
    """Return the steps as a numbered list with aligned columns.

    Args:
        steps: the steps of a run.
        whole: whether to show all of them; if not, a long story is cut to its beginning and end.
    """
    if not steps:
        return "(nothing happened)"
    head, left_out, tail = (steps, 0, ()) if whole else _in_short(steps)
    numbered = [*enumerate(head, 1), *enumerate(tail, len(head) + left_out + 1)]
    shown = [(number, printable(step.sender), printable(step.receiver), step.text) for number, step in numbered]
    width_from = max(len(sender) for _, sender, _, _ in shown)
    width_to = max(len(receiver) for _, _, receiver, _ in shown)
    lines = [
        f"{number:4d}  {sender:>{width_from}} -> {receiver:<{width_to}}  {text}"
        if sender != receiver
        else f"{number:4d}  {sender:>{width_from}}    {'':<{width_to}}  {text}"
        for number, sender, receiver, text in shown
    ]
    if left_out:
        lines.insert(len(head), f"      {_gap(left_out)}")
    indent = min(width_from + width_to + 12, LINE_CHARS_MAX // 2)
    return "\n".join(line if len(line) <= LINE_CHARS_MAX else _wrapped(line, indent) for line in lines)


def as_mermaid(steps: Sequence[Step]) -> str:
    """Return the steps as a Mermaid sequence diagram. A long story is cut to its beginning and end."""
    head, left_out, tail = _in_short(steps)
    names = dict.fromkeys(name for step in (*head, *tail) for name in (step.sender, step.receiver))
    identifiers = {name: f"p{index}" for index, name in enumerate(names)}
    lines = ["sequenceDiagram"]
    lines += [f"    participant {identifier} as {_in_mermaid(name)}" for name, identifier in identifiers.items()]
    lines += [_arrow(step, identifiers) for step in head]
    if left_out:
        everybody = ",".join(dict.fromkeys(("p0", f"p{len(names) - 1}")))
        lines.append(f"    Note over {everybody}: {_gap(left_out)}")
    lines += [_arrow(step, identifiers) for step in tail]
    return "\n".join(lines)


def _arrow(step: Step, identifiers: Mapping[str, str]) -> str:
    text = _in_mermaid(step.text)
    sender, receiver = identifiers[step.sender], identifiers[step.receiver]
    if sender == receiver:
        return f"    Note over {sender}: {text}"
    arrow = "-->>" if isinstance(step.what, Answer) else "->>"
    return f"    {sender}{arrow}{receiver}: {text}"


def _in_mermaid(text: str) -> str:
    """Return a text without characters that have a meaning in Mermaid."""
    return printable(text).replace(";", ",").replace("#", "")


def _in_short(steps: Sequence[Step]) -> tuple[Sequence[Step], int, Sequence[Step]]:
    """Return the first steps, how many are left out, and the last ones."""
    if len(steps) <= STORY_STEPS_MAX:
        return steps, 0, ()
    return steps[:FIRST_STEPS], len(steps) - FIRST_STEPS - LAST_STEPS, steps[-LAST_STEPS:]


def _gap(left_out: int) -> str:
    return f"… {left_out:,} steps left out …"


def _wrapped(line: str, indent: int) -> str:
    """Wrap a long line, such as a commit that names its keys or a long note, and indent the rest below its text."""
    lines = textwrap.wrap(
        line, LINE_CHARS_MAX, subsequent_indent=" " * indent, replace_whitespace=False, break_on_hyphens=False
    )
    return "\n".join(lines)


def _field_names(message: Any) -> Sequence[str]:
    for fields_of in ("__struct_fields__", "_fields"):
        names: Sequence[str] | None = getattr(message, fields_of, None)
        if names is not None:
            return names
    if is_dataclass(message):
        return [field.name for field in fields(message)]
    return ()


def _fact(name: str, value: Any, room: int) -> str:
    if name == "core":
        return ""
    room = min(max(room, _FACT_CHARS_MIN) - len(name) - 1, SHOWN_CHARS_MAX)
    if isinstance(value, Encoded):
        return f"{name}={_value(decode_value(value.data), room)}"
    if isinstance(value, _PLAIN):
        return f"{name}={_short(value, room)}"
    if type(value) in (dict, list):
        return f"{name}={_value(value, room)}"
    if name == "request" and value.__class__ is CommitRequest and value.transaction_id:
        return _request(value)
    if value.__class__ is tuple and value and all(isinstance(item, int | str) for item in value):
        return f"{name}={_value(list(value), room)}"
    transaction_id = getattr(value, "transaction_id", None)
    if transaction_id:
        return f"transaction={transaction_id}"
    if transaction_id == 0:
        # A primitive actor's own transaction, which the coordinator has not given an id yet.
        return ""
    if name in ("verdict", "outcome"):
        return type(value).__name__
    return ""


def _request(request: CommitRequest) -> str:
    """Return a transaction as its id, the keys it has read, and the keys it writes."""
    reads = [str(Key(part.run, Tag(part.tag), key)) for part in request.slices for key, _ in part.reads]
    reads += [f"{Key(part.run, Tag(part.tag), start)} and on" for part in request.slices for start, _ in part.scans]
    writes = [str(Key(part.run, Tag(part.tag), write[0])) for part in request.slices for write in part.writes]
    writes += [f"all of {run!r}" for run in request.dropped_runs]
    facts = [f"transaction={request.transaction_id}"]
    given = [(name, keys) for name, keys in (("reads", reads), ("writes", writes)) if keys]
    facts += [f"{name}=[{_listed(keys, SHOWN_CHARS_MAX)}]" for name, keys in given]
    return ", ".join(facts)


def _value(value: Any, room: int = SHOWN_CHARS_MAX) -> str:
    """Return a value in short form, or its type and length if parts of it look different in every process."""
    if type(value) in _LEAVES:
        return _short(value, room)
    if not _is_plain(value, SHOWN_LEVELS_MAX):
        return f"{type(value).__name__} of {len(value)}"
    whole = repr(value)
    if len(whole) <= room:
        return whole
    inside = max(room - len("[, …]"), _FACT_CHARS_MIN)
    parts: Any = value
    if type(value) is dict:
        items = (f"{key!r}: {_value(item, inside - len(repr(key)) - 2)}" for key, item in parts.items())
    else:
        items = (_value(item, inside) for item in parts)
    return f"{whole[0]}{_listed(items, inside)}{whole[-1]}"


def _is_plain(value: Any, levels: int) -> bool:
    if type(value) in _LEAVES:
        return True
    if type(value) not in _PARTED or not levels:
        return False
    parts: list[Any] = [*value, *value.values()] if hasattr(value, "values") else [*value]
    return all(_is_plain(part, levels - 1) for part in parts)


def _listed(items: Iterable[str], room: int) -> str:
    """Return the items, or as many of the first ones as fit; the first in any case, cut if necessary."""
    shown = ""
    for item in items:
        longer = f"{shown}, {item}" if shown else _cut(item, room)
        if len(longer) > room:
            return f"{shown}, …"
        shown = longer
    return shown


def _cut(shown: str, room: int = SHOWN_CHARS_MAX) -> str:
    return shown if len(shown) <= room else shown[: max(room - 1, 0)] + "…"


def _short(value: Any, room: int = SHOWN_CHARS_MAX) -> str:
    return _cut(repr(value), room)
