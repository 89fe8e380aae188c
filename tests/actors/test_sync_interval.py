"""In `interval` mode a written commit waits for its sync as long as `sync_interval` says; in the others nothing is due.

What a power failure takes is bounded by that (docs/durability.md), so it is the delay of the timer that is looked at.
"""

import pytest

from inmem.actors.dispatch.caller_dispatcher import CallerDispatcher
from inmem.actors.dispatch.threads_dispatcher import ThreadsDispatcher
from inmem.actors.messages.core import SyncDue
from tests.actors.faulty_disk import FAILSAFE_S, FaultyDisk, open_on


@pytest.fixture(params=[CallerDispatcher, ThreadsDispatcher])
def dispatcher(request):
    return request.param


@pytest.fixture
def timers(dispatcher, monkeypatch):
    """What the store wants to be told later, as (delay, mailbox, message); it is told nothing of it."""
    noted = []
    monkeypatch.setattr(dispatcher, "post_later", lambda _self, *timer, **_: noted.append(timer))
    return noted


@pytest.fixture
def opened(tmp_path, dispatcher, timers):
    stores = []

    def open_store(**options):
        disk = FaultyDisk(tmp_path / "db")
        name = "caller" if dispatcher is CallerDispatcher else "threads"
        stores.append((open_on(disk, dispatcher=name, **options), disk))
        return stores[-1]

    yield open_store
    for db, disk in stores:
        disk.repair()
        db.close()


def syncs_due(timers):
    return [timer for timer in timers if isinstance(timer[2], SyncDue)]


@pytest.mark.parametrize("sync_interval", [0.002, 7.5, 3599])
def test_a_commit_is_synced_when_the_interval_has_passed(opened, timers, sync_interval):
    db, disk = opened(durability="interval", sync_interval=sync_interval)
    for rounds in range(1, 3):
        for number in range(5):
            db.put("run", "k", number)
        # One for all that were written meanwhile, from the first of them on: none waits longer.
        due = syncs_due(timers)
        assert [delay_s for delay_s, *_ in due] == [sync_interval] * rounds
        sync = disk.gate("sync", ".wal")
        _, mailbox, message = due[-1]
        mailbox.ref.tell(message)
        assert sync.arrived.wait(FAILSAFE_S)
        sync.open()


def test_the_interval_is_a_tenth_of_a_second_unless_said_otherwise(opened, timers):
    db, _ = opened(durability="interval")
    db.put("run", "k", 1)
    assert [delay_s for delay_s, *_ in syncs_due(timers)] == [0.1]


@pytest.mark.parametrize("durability", ["always", "never"])
def test_in_the_other_modes_no_sync_is_ever_due(opened, timers, durability):
    db, _ = opened(durability=durability, sync_interval=7.5)
    for number in range(5):
        db.put("run", "k", number)
    db.flush()
    db.put("run", "k", 5)
    assert syncs_due(timers) == []
