"""What happened in a run, message by message: as text, as a plain diagram, as Mermaid."""

from __future__ import annotations

from typing import Any, NamedTuple

SHOWN_FIELDS_MAX = 4
SHOWN_CHARS_MAX = 60


class Step(NamedTuple):
    """One event of a run.

    Attributes:
        sender: an actor, a client, "timer", "disk" or "world".
        receiver: who got it; the same as the sender for what concerns only one.
        text: what it was, without anything that differs from one process to the next.
    """

    sender: str
    receiver: str
    text: str

    def __str__(self) -> str:
        return f"{self.sender} -> {self.receiver}: {self.text}"


def describe(message: Any) -> str:
    """Return a message in one short line: its type, and those of its fields that are plain facts.

    Objects are left out, so that the same run gives the same text in every process.
    """
    facts: list[str] = []
    fields = getattr(message, "_fields", None) or getattr(type(message), "__slots__", ())
    for name in fields:
        value = getattr(message, name, None)
        if isinstance(value, bool | int | str) and name != "core":
            shown = repr(value)
            facts.append(f"{name}={shown if len(shown) <= SHOWN_CHARS_MAX else shown[:SHOWN_CHARS_MAX] + '…'}")
        elif isinstance(value, tuple) and value and all(isinstance(item, int) for item in value):
            facts.append(f"{name}={list(value)}")
        elif hasattr(value, "transaction_id"):
            facts.append(f"transaction={value.transaction_id}")
        elif name in ("verdict", "outcome"):
            facts.append(type(value).__name__)
    return f"{type(message).__name__}({', '.join(facts[:SHOWN_FIELDS_MAX])})"


def as_text(steps: list[Step]) -> str:
    """Return the steps as a numbered list with aligned columns."""
    if not steps:
        return "(nothing happened)"
    width_from = max(len(step.sender) for step in steps)
    width_to = max(len(step.receiver) for step in steps)
    return "\n".join(
        f"{number:4d}  {step.sender:>{width_from}} -> {step.receiver:<{width_to}}  {step.text}"
        for number, step in enumerate(steps, 1)
    )


def as_mermaid(steps: list[Step]) -> str:
    """Return the steps as a Mermaid sequence diagram."""
    lines = ["sequenceDiagram"]
    names: dict[str, None] = {}
    for step in steps:
        names[step.sender] = None
        names[step.receiver] = None
    identifiers = {name: f"p{index}" for index, name in enumerate(names)}
    lines += [f"    participant {identifier} as {name}" for name, identifier in identifiers.items()]
    for step in steps:
        text = step.text.replace(";", ",").replace("#", "").replace("\n", " ")
        sender, receiver = identifiers[step.sender], identifiers[step.receiver]
        if sender == receiver:
            lines.append(f"    Note over {sender}: {text}")
        else:
            lines.append(f"    {sender}->>{receiver}: {text}")
    return "\n".join(lines)
