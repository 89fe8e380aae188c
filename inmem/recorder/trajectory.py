"""Coding-agent trajectories: JSON objects with a "trajectory", as SWE-agent writes them into `.traj` files.

The messages of a trajectory are, in order:

1. the prompts: the entries of "history" before the agent's own first one;
2. for each step of "trajectory" an assistant's message, made of the step's "thought" with its "action" as one tool
   call, and a tool's message, made of the step's "observation".

So a file with p prompts and s steps has p + 2s messages and s tool calls, less one for each step without an action. The
rest of "history" repeats the steps as shown to the model, and is not read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inmem.engine.codec import Encoded
from inmem.recorder.chat import ROLES, error_in
from inmem.recorder.place import LIST, OBJECT
from inmem.recorder.transcript import Answer, Call, Message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inmem.recorder.place import Place


def read_trajectory(record: dict[str, Any], place: Place) -> Iterator[Message]:
    """Yield the messages of a trajectory.

    Raises:
        TranscriptError: the trajectory is invalid.
    """
    history: list[object] = place.optional(record, "history", LIST) or []
    yield from _prompts(history, place)
    steps: list[object] = place.field(record, "trajectory", LIST)
    for index, step in enumerate(steps):
        yield from _step(step, str(index), place.at(f"trajectory[{index}]"))


def exit_error(record: dict[str, Any], place: Place) -> str | None:
    """Return why the agent failed, or None if it submitted a result or its exit status is unknown.

    Raises:
        TranscriptError: the exit status is invalid or cannot be stored.
    """
    info = place.optional(record, "info", OBJECT) or {}
    here = place.at("info")
    status = here.optional(info, "exit_status", str)
    if not status or status.startswith("submitted"):
        return None
    error = f"exit status: {status}"
    here.encoded({"exit_status": error})
    return error


def _prompts(history: list[object], place: Place) -> Iterator[Message]:
    for index, value in enumerate(history):
        here = place.at(f"history[{index}]")
        entry = here.expect(value, OBJECT)
        role = here.field(entry, "role", str)
        # Demonstrations are part of the prompt, whatever their role.
        if role == "assistant" and entry.get("is_demo") is not True:
            return
        if role not in ROLES:
            raise here.error(f'"role" must be one of {", ".join(ROLES)}')
        content: Any = entry.get("content")
        yield Message(role, Encoded(here.encoded(entry)), content if type(content) is str else "")


def _step(value: object, name: str, place: Place) -> Iterator[Message]:
    step = place.expect(value, OBJECT)
    thought = place.optional(step, "thought", str) or ""
    action = place.optional(step, "action", str) or ""
    words = action.split(maxsplit=1)
    calls = (Call(name, words[0], {"action": action}),) if words else ()
    said = {key: part for key, part in step.items() if key not in _OF_THE_TOOL}
    yield Message("assistant", Encoded(place.encoded(said)), thought.strip(), calls=calls)

    observation = place.optional(step, "observation", str) or ""
    answer = Answer(name, observation, error_in(observation), _duration_ms(step, place))
    heard = {key: part for key, part in step.items() if key in _OF_THE_TOOL}
    yield Message("tool", Encoded(place.encoded(heard)), observation, answer=answer)


_OF_THE_TOOL = frozenset({"observation", "execution_time", "state"})
"""Fields of a step that exist only after the tool has run."""


def _duration_ms(step: dict[str, Any], place: Place) -> float | None:
    written: Any = step.get("execution_time")
    seconds: float | None
    # Some versions of SWE-agent write the number as a string.
    if type(written) is str:
        try:
            seconds = float(written)
        except ValueError:
            raise place.error('"execution_time" must be a number of seconds') from None
    else:
        seconds = place.optional_number(step, "execution_time")
    if seconds is None:
        return None
    if not seconds >= 0:
        raise place.error('"execution_time" must be at least 0')
    return round(seconds * 1000, 3)
