"""Two agents that race for one task, a schedule in which both take it, and a version without the race.

Each agent checks whether the task is free, thinks for a while, and then takes the task. Other agents may act between
the check and the take. In a test on a quiet machine this never fails. `explore` runs the agents under hundreds of
message orders, finds one that fails, and shrinks it to the few steps that matter.

    python examples/race.py
"""

from collections.abc import Callable

import inmem
from inmem.simulation import Simulation, SimulationFailure, as_text, explore

RUN = "demo"

Agent = Callable[[Simulation, inmem.Database, str], None]


def hasty(sim: Simulation, db: inmem.Database, name: str) -> None:
    task = db.cells.read(RUN, "task")
    if task is not None and task.value == "free":
        sim.pause()  # a call to a model would go here
        db.cells.set(RUN, "task", name)
        db.events.append(RUN, "started", name)


def careful(sim: Simulation, db: inmem.Database, name: str) -> None:
    task = db.cells.read(RUN, "task")
    if task is not None and task.value == "free":
        sim.pause()
        try:
            db.cells.cas(RUN, "task", task.version, name)
        except inmem.CasConflictError:
            return
        db.events.append(RUN, "started", name)


def two_hasty_agents(sim: Simulation) -> None:
    run_two(sim, hasty)


def two_careful_agents(sim: Simulation) -> None:
    run_two(sim, careful)


def run_two(sim: Simulation, agent: Agent) -> None:
    db = sim.open(memory=True)
    db.cells.init(RUN, "task", "free")
    sim.spawn(agent, sim, db, "Ada", name="Ada")
    sim.spawn(agent, sim, db, "Ben", name="Ben")
    sim.run()
    started = [event.payload for event in db.events.read_by_type(RUN, "started")]
    assert len(started) == 1, f"the task was started by {' and '.join(started)}"


def main() -> None:
    try:
        explore(two_hasty_agents, seeds=500)
    except SimulationFailure as failure:
        print(f"{failure.cause} (seed {failure.seed})\n\n{as_text(failure.story)}\n")
    else:
        raise SystemExit("the race was not found")
    print(f"with cas, {explore(two_careful_agents, seeds=500)} schedules pass")


if __name__ == "__main__":
    main()
