"""Matching of tool messages to the calls that they answer."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from inmem.recorder.transcript import Message


def with_calls_found(messages: Iterable[Message]) -> Iterator[Message]:
    """Yield the messages of a conversation, each answer with the call that it answers, if any.

    An answer with a call id answers the oldest unanswered call with that id; an answer without one answers the oldest
    unanswered call of all.

    Complexity: O(messages and calls), however many calls are unanswered at the same time.
    """
    # Calls by id, and all calls under None. A call answered through one queue stays in the other until it is first.
    waiting: defaultdict[str | None, deque[tuple[int, int]]] = defaultdict(deque)
    answered: set[tuple[int, int]] = set()
    for position, message in enumerate(messages):
        for index, call in enumerate(message.calls):
            for name in {call.id, None}:
                waiting[name].append((position, index))
        if message.answer is None:
            yield message
            continue
        line = waiting[message.answer.call_id]
        while line and line[0] in answered:
            line.popleft()
        call_at = line.popleft() if line else None
        if call_at is not None:
            answered.add(call_at)
        yield replace(message, answer=replace(message.answer, call_at=call_at))
