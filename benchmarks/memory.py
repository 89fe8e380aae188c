"""Memory: the bytes that a process holds per byte of data, measured in a separate process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.contender import Inmem
from benchmarks.measure import Figure, Result, Settings, Subject, Target

VALUE = "v" * 100

_CHILD = """
import gc, json, sys
def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096
{imports}
gc.collect()
before = resident()
{load}
gc.collect()
print(json.dumps(resident() - before))
"""

_OURS = (
    "import inmem",
    'db = inmem.open(sys.argv[1], durability="never")',
)
_DICT = (
    'import msgpack\ndata = bytearray(msgpack.packb("v" * 100))',
    'kept = {b"key-%08d" % number: bytes(data) for number in range(int(sys.argv[1]))}',
)


def _grown_bytes(code: tuple[str, str], argument: str) -> int:
    child = _CHILD.format(imports=code[0], load=code[1])
    completed = subprocess.run(  # noqa: S603  (our own code, on our own file names)
        [sys.executable, "-c", child, argument], check=True, capture_output=True, text=True, cwd=Path.cwd()
    )
    grown: int = json.loads(completed.stdout)
    return grown


def _memory(settings: Settings) -> Result:
    keys = settings.pick(1_000_000, 100_000)
    encoded_bytes = keys * (12 + 102)
    folder = settings.folder / "memory"
    store = Inmem("never")
    store.open(folder)
    store.load(keys, VALUE)
    store.db.checkpoint()
    store.close()
    ours = Figure("inmem", "x", [])
    plain = Figure("dict of bytes", "x", [])
    for _ in range(min(settings.rounds, 3)):
        ours.rounds.append(_grown_bytes(_OURS, str(folder)) / encoded_bytes)
        plain.rounds.append(_grown_bytes(_DICT, str(keys)) / encoded_bytes)
    return Result([ours, plain], notes=[f"resident bytes per encoded byte, {keys:,} keys with values of 100 bytes"])


SUBJECTS = (
    Subject("memory", "memory, times the encoded data", _memory, (Target("inmem", at_most=2.5, full_only=True),)),
)
