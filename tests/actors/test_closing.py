"""A close while others commit: who was in flight hears of the end before the store ends."""

import threading

import pytest

from inmem.actors.dispatch.actor import Owed
from inmem.actors.messages.transactions import Commit, Drain
from tests.actors.faulty_disk import FAILSAFE_S, FaultyDisk, open_on

CLIENTS = 6


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
def test_a_whole_batch_is_answered_before_the_coordinator_is_drained(tmp_path, monkeypatch, dispatcher):
    """Answered in the middle of it, the close would retire whom the rest of the batch has yet to be told of."""
    answered: list[tuple[str, type]] = []
    answer = Owed.answer

    def noted(self, value):
        answered.append((self.mailbox.name, type(self.message)))
        answer(self, value)

    disk = FaultyDisk(tmp_path / "db")
    db = open_on(disk, dispatcher=dispatcher, durability="always")
    db.put("run", "k", 0)
    gate = disk.gate("sync")
    versions: list[int] = []

    def commit(number: int) -> None:
        with db.begin(f"run-{number}") as txn:
            txn.put("k", number, ttl=1000)
            versions.append(txn.commit())

    clients = [threading.Thread(target=commit, args=(number,), daemon=True) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    # One waits for the disk, the others for that one, to be synced together.
    while db.stats().in_flight < CLIENTS:
        pass
    monkeypatch.setattr(Owed, "answer", noted)
    closing = threading.Thread(target=db.close, daemon=True)
    closing.start()
    while db._client.directory.coordinator.mailbox.actor._draining is None:
        pass
    gate.open()
    closing.join(FAILSAFE_S)
    for client in clients:
        client.join(FAILSAFE_S)
    assert not any(thread.is_alive() for thread in (closing, *clients))
    assert sorted(versions) == list(range(2, CLIENTS + 2))
    assert [kind for name, kind in answered if name == "coordinator"] == [Commit] * CLIENTS + [Drain]
