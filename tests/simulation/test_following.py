"""A reader beside the owner, in every order: what it shows is what the files prove, and what was acknowledged is in it.

The reader is another process, so it outlives the crashes of the owner's, and looks at the same disk.
"""

import contextlib

import pytest

import inmem
from inmem.actors.files.follower import Follower
from inmem.engine.log import group_commit
from inmem.engine.log.recovery import recover
from inmem.engine.tables.snapshot import Snapshot
from inmem.simulation import Faults, explore

LOOKS = 12
SHARDS = 2


class Beside:
    """The other process: one reader, who looks again and again."""

    def __init__(self, sim, db):
        self.sim = sim
        self.disk = sim._stores["db"].disk
        self.follower = None
        self.acknowledged = 0
        self.looks = 0

    def run(self):
        while self.looks < LOOKS:
            self.sim.pause()
            self.looks += 1
            self.look()

    def look(self):
        # Nothing else happens between these two: the simulated disk is read without a pause.
        expected = self.proven()
        try:
            shown = self.shown()
        except inmem.CorruptionError:
            assert expected is None
            return
        assert (shown.version, tables(shown)) == expected
        assert shown.version >= self.acknowledged

    def shown(self):
        if self.follower is None:
            follower = Follower(self.disk, SHARDS)
            recovered = follower.open()
            self.follower = follower
            return Snapshot(recovered.version, recovered.roots)
        return self.follower.advance().snapshot

    def proven(self):
        try:
            recovered, _ = recover(self.disk, SHARDS)
        except inmem.CorruptionError:
            return None
        return recovered.version, tables(Snapshot(recovered.version, recovered.roots))


def tables(snapshot):
    return [(run, tag, list(table.range())) for run, tag, table in snapshot.tables()]


@pytest.mark.parametrize("kind", ["none", "crashes", "everything"])
def test_a_reader_shows_what_the_files_prove(monkeypatch, kind):
    monkeypatch.setattr(group_commit, "SEGMENT_BYTES_MAX", 400)
    faults = {"none": Faults(), "crashes": Faults.crashes(), "everything": Faults.everything()}[kind]
    versions = set()

    def scenario(sim):
        db = sim.open("db")
        reader = Beside(sim, db)

        def writer(name):
            for number in range(4):
                with contextlib.suppress(inmem.InmemError):
                    reader.acknowledged = max(reader.acknowledged, db.put(name, "k", number))
            with contextlib.suppress(inmem.InmemError):
                db.checkpoint()

        sim.spawn(writer, "a", restart=True)
        sim.spawn(writer, "b", restart=True)
        sim.spawn(reader.run, restart=True)
        sim.run()
        reader.look()
        versions.add(db.version)

    explore(scenario, seeds=150, faults=faults)
    assert max(versions) >= 8
