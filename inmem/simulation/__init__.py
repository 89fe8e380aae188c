"""Test by simulation: run the production actors, and your agents, in many orders of events, each chosen by a seed.

    from inmem.simulation import explore

    def scenario(sim):
        db = sim.open("db")
        sim.spawn(agent, db)
        sim.spawn(agent, db)
        sim.run()
        assert db.get("run", "counter") == 2

    explore(scenario, seeds=500)

See docs/simulation.md.
"""

from inmem.simulation.endless import Endless
from inmem.simulation.exploration import Searched, explore, replay, search
from inmem.simulation.failure import SimulationFailure
from inmem.simulation.faults import Faults
from inmem.simulation.promises import BrokenPromise
from inmem.simulation.scenario import ScenarioError
from inmem.simulation.simulation import Simulation
from inmem.simulation.trace import Step, as_mermaid, as_text

__all__ = [
    "BrokenPromise",
    "Endless",
    "Faults",
    "ScenarioError",
    "Searched",
    "Simulation",
    "SimulationFailure",
    "Step",
    "as_mermaid",
    "as_text",
    "explore",
    "replay",
    "search",
]
