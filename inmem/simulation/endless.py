"""The error for a run that does not come to rest, and who is to blame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inmem.simulation.promises import BrokenPromise
from inmem.simulation.stalls import place_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inmem.simulation.clients import SimulatedClient
    from inmem.simulation.trace import Step

LAST_STEPS = 1_000
"""A client that takes part in one of the last so many steps goes on. Others, such as idle actors, only wait."""


class Endless(AssertionError):  # noqa: N818  (a finding; pytest shows it as a failure)
    """Clients go on without end. The store is not at fault: what the clients wait for does not happen."""

    __module__ = "inmem.simulation"  # where it is imported from


def without_end(
    steps: Sequence[Step], clients: Sequence[SimulatedClient], silent_turns: int
) -> Endless | BrokenPromise:
    """Return the error for a run that was given up.

    Args:
        steps: the steps of the run.
        clients: the clients of the run, including those that are done.
        silent_turns: how many turns of clients added no step.
    """
    after = f"after {max(len(steps), silent_turns) - 1:,} steps"
    active = {name for step in steps[-LAST_STEPS:] for name in (step.sender, step.receiver)}
    if silent_turns >= len(steps):
        active |= {client.name for client in clients if client.ready}
    busy = [client for client in clients if not client.done and client.name in active]
    if not busy:
        return BrokenPromise(f"the store is not at rest {after}")
    names = [client.name for client in busy]
    if len(busy) == 1:
        said = f"{names[0]} goes on without end, {after}: is something missing that it waits for?"
    else:
        said = (
            f"{', '.join(names[:-1])} and {names[-1]} go on without end, {after}: is something missing that they wait "
            "for?"
        )
    places = [f"    {client.name} is at {place}" for client in busy if (place := place_of(client.thread))]
    return Endless("\n".join([said, *places]))
