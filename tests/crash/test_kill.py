"""kill -9 under load, many times: what was acknowledged is there, nothing is there by half, and the lock is free.

INMEM_KILLS sets how many kills each of the six variants gets; the default suits a continuous integration run, 1000
takes some minutes. A failure names its seed, which INMEM_KILLS_SEED repeats as far as an operating system can be
repeated.
"""

import os
import random
import shutil
import signal

import pytest

from tests.crash.acknowledged import check, live

KILLS_BY_DEFAULT = 34
KILLS = int(os.environ.get("INMEM_KILLS", KILLS_BY_DEFAULT))
SEED = int(os.environ.get("INMEM_KILLS_SEED", random.randrange(2**32)))
KILLS_PER_DATABASE = 12
"""So that the time it takes to look through a database stays the same, however many kills there are."""


DISPATCHERS = ("caller", "threads")
DURABILITIES = ("always", "interval", "never")


@pytest.mark.parametrize("dispatcher", DISPATCHERS)
@pytest.mark.parametrize("durability", DURABILITIES)
def test_killed_under_load(victims, tmp_path, durability, dispatcher):
    """The system survives, so that what was written is there in every mode, synced or not."""
    chance = random.Random(f"{SEED} {durability} {dispatcher}")
    path, acked = tmp_path / "db", {}
    for kill in range(KILLS):
        if kill % KILLS_PER_DATABASE == 0:
            shutil.rmtree(path, ignore_errors=True)
            acked = {}
        lines = chance.randrange(-8, 80)
        try:
            told, code = live(
                victims, "commit_until_killed", path, durability, dispatcher, lines=lines, signum=signal.SIGKILL
            )
            assert code == -signal.SIGKILL
            acked |= told
            check(path, acked)
        except BaseException as error:
            error.add_note(f"kill {kill} with INMEM_KILLS_SEED={SEED}")
            raise
