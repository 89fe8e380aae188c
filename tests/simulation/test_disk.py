"""The simulated disk commits the faults that its first page allows, and no others."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inmem.engine.errors import DiskFullError, StorageError
from inmem.simulation import Faults
from inmem.simulation.choices import RecordedChooser, SeededChooser
from inmem.simulation.disk import SimulatedDisk
from inmem.simulation.faults import SLOW_SYNC_US, ActorCrash, FaultInjector, SimulatedCrash
from inmem.simulation.scheduler import Scheduler
from tests.engine.memory_disk import content_of


class Machine:
    """A disk and the process that uses it."""

    def __init__(self, faults=None, seed=0, chooser=None):
        chooser = chooser or SeededChooser(seed)
        self.scheduler = Scheduler(chooser)
        self.injector = FaultInjector(faults or Faults(), chooser, self.scheduler)
        self.injector.active = True
        self.elapsed_us = 0
        self.disk = SimulatedDisk("db", chooser, self.injector, self.take_time)

    def take_time(self, duration_us):
        self.elapsed_us += duration_us


def test_what_was_synced_survives_every_crash():
    for seed in range(50):
        disk = Machine(Faults(torn_writes=True, reordered_writes=True, lost_names=True), seed).disk
        file = disk.create("a")
        file.append(b"synced")
        file.sync()
        disk.sync_names()
        file.append(b"not synced")
        disk.crash()
        assert content_of(disk, "a").startswith(b"synced")


def after_crashes(faults, seeds=200):
    found = set()
    for seed in range(seeds):
        disk = Machine(faults, seed).disk
        file = disk.create("a")
        disk.sync_names()
        file.append(b"ab")
        file.append(b"cd")
        disk.crash()
        found.add(content_of(disk, "a"))
    return found


def test_without_torn_writes_a_crash_keeps_all_or_nothing():
    assert after_crashes(Faults()) == {b"", b"abcd"}


def test_a_torn_write_may_end_anywhere():
    assert after_crashes(Faults(torn_writes=True)) == {b"", b"a", b"ab", b"abc", b"abcd"}


def test_reordered_writes_leave_zeros_where_bytes_were_lost():
    found = after_crashes(Faults(reordered_writes=True))
    assert {b"\0\0cd", b"ab\0\0"} <= found
    assert all(len(data) in (0, 4) for data in found)


@pytest.mark.parametrize("faults", [Faults(), Faults(lost_names=True)])
def test_names_that_were_not_synced_may_be_lost_from_the_last_one_on(faults):
    found = set()
    for seed in range(100):
        disk = Machine(faults, seed).disk
        disk.create("old")
        disk.sync_names()
        disk.create("new")
        disk.rename("old", "newer")
        disk.remove("new")
        disk.crash()
        found.add(tuple(disk.names()))
    assert found == ({("newer",)} if faults == Faults() else {("old",), ("new", "old"), ("new", "newer"), ("newer",)})


def test_a_failed_sync_proves_nothing_and_neither_do_later_ones():
    kept = set()
    for seed in range(60):
        machine = Machine(Faults(failed_sync=1), seed)
        file = machine.disk.create("a")
        machine.disk.sync_names()
        file.append(b"data")
        with pytest.raises(OSError, match="simulated failure"):
            file.sync()
        machine.injector.active = False
        file.sync()
        machine.disk.crash()
        kept.add(content_of(machine.disk, "a"))
    assert {b"", b"data", b"\0\0\0\0"} <= kept


def test_a_full_disk_refuses_and_changes_nothing():
    machine = Machine(Faults(full_disk=1))
    with pytest.raises(DiskFullError):
        machine.disk.create("a")
    assert machine.disk.names() == []


def test_a_slow_sync_takes_its_time():
    machine = Machine(Faults(slow_sync=1))
    machine.disk.create("a").sync()
    assert machine.elapsed_us == SLOW_SYNC_US


def test_the_process_may_die_at_any_step_and_then_nothing_happens_any_more():
    died = set()
    for seed in range(600):
        machine = Machine(Faults(crash=True), seed)
        with contextlib.suppress(SimulatedCrash):
            machine.disk.create("a")
            for _ in range(10_000):
                machine.disk.truncate("a", 0)
        died.add(len(machine.scheduler.steps) - 2)
        with pytest.raises(SimulatedCrash):
            machine.disk.sync_names()
    assert {0, 1, 2} <= died


def test_an_actor_may_fail_at_any_disk_step_but_the_supervisor_does_not():
    machine = Machine(Faults(actor_crash=True), chooser=RecordedChooser([1, 0]))
    machine.scheduler.handling = "log-disk"
    with pytest.raises(ActorCrash):
        machine.disk.create("a")
    machine = Machine(Faults(actor_crash=True), chooser=RecordedChooser([1]))
    machine.scheduler.handling = "supervisor"
    machine.disk.create("a")


def test_what_is_not_there_is_refused():
    disk = Machine().disk
    with pytest.raises(StorageError):
        content_of(disk, "a")
    disk.create("a")
    with pytest.raises(StorageError):
        disk.create("a")


@given(st.integers(0, 10_000), st.lists(st.binary(min_size=1, max_size=4), max_size=6), st.integers(0, 6))
def test_bytes_are_lost_or_zeroed_but_never_invented(seed, pieces, synced):
    disk = Machine(Faults(torn_writes=True, reordered_writes=True), seed).disk
    file = disk.create("a")
    disk.sync_names()
    for index, piece in enumerate(pieces):
        file.append(piece)
        if index + 1 == synced:
            file.sync()
    written = b"".join(pieces)
    durable = len(b"".join(pieces[:synced])) if synced <= len(pieces) else 0
    disk.crash()
    found = content_of(disk, "a")
    assert len(found) <= len(written)
    assert found[:durable] == written[:durable]
    assert all(have in (want, 0) for have, want in zip(found, written, strict=False))
