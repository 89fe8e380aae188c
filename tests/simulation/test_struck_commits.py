"""A client that was interrupted in its commit asks how it ended, in any order of messages and with failing actors.

No signal strikes in a simulation. So the client sends the commit without waiting for its reply, or not at all.
"""

from collections import Counter

import pytest

import inmem
from inmem.actors.messages.transactions import Commit, CommitAborted, Committed
from inmem.simulation import Faults, explore

SEEDS = 200


@pytest.mark.parametrize("durability", ["always", "never"])
@pytest.mark.parametrize(
    "faults", [Faults(), Faults(actor_crash=True), Faults(full_disk=0.1), Faults(failed_sync=0.2, actor_crash=True)]
)
def test_the_answer_is_the_truth_and_final(durability, faults):
    answers = Counter()

    def scenario(sim):
        db = sim.open(durability=durability, shards=2)
        coordinator = db._client.directory.coordinator
        db.put("run", "contended", 0)
        absent, raised = [], []

        def is_struck(number, asks_after):
            try:
                txn = db.begin("run")
                txn.put("contended", (txn.get("contended") or 0) + 1)
                txn.on(f"other-{number}").kv.put("k", number)
                request = txn._engine.seal()
                if asks_after is not None:
                    coordinator.tell(Commit(request, 0))
                for _ in range(asks_after or 0):
                    sim.pause()
                answer = db._client.settle(request)
                is_there = db.get(f"other-{number}", "k") == number
                answers[type(answer)] += 1
                match answer:
                    case Committed(version):
                        assert is_there
                        assert version > request.start_version
                    case CommitAborted(inmem.CommitOutcomeUnknownError()):
                        pass
                    case _:
                        assert not is_there
                        absent.append(number)
            except (inmem.StoreFailedError, inmem.TransactionAbortedError) as error:
                raised.append(error)

        for number, asks_after in enumerate([0, 10, 20, None]):
            sim.spawn(is_struck, number, asks_after, name=f"struck-{number}")
        sim.run()
        db.recover()
        assert not any(db.kv.exists(f"other-{number}", "k") for number in absent)
        # An error that was raised is among the steps, with its frames and what they hold.
        assert db.stats().active_transactions <= len(raised)

    explore(scenario, seeds=SEEDS, faults=faults)
    assert set(answers) == {Committed, CommitAborted}
    assert min(answers.values()) > SEEDS / 10
