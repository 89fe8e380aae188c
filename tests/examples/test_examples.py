"""Every example runs, proves its own claims, and prints what a stranger needs to understand it."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

OUTPUT = {
    "agent_memory.py": """\
planned:  five writes to four primitives, one commit
failed:   320 is more than the budget of 250
          nothing of that step was stored
chosen:   {'to': 'OSL', 'price': 210} with a budget of 250 and then 220
memory:   ['flight', 'goal', 'plan_trace']
events:   ['planned', 'chosen']
reasoning:
  Thought
    ToolCall
      Decision
""",
    "audit.py": """\
0. the original is sound; the auditor writes down where its runs end: march, april
1. a byte is changed in a copy
   refused: 000000000001.wal is damaged
2. a byte is changed in a copy, and all checksums are mended
   march: event 2 does not have the hash of its content
3. the whole history is written anew with another amount
   march: valid in itself, but it does not end in the hash that was written down
the original is as it was
""",
    "handover.py": """\
round 1: researcher
round 1: writer
round 2: researcher
round 2: writer
round 3: researcher
round 3: writer
every turn was taken once; messages that came at the wrong time were ignored
""",
    "race.py": """\
the task was started by Ada and Ben (seed 0)

   1     Ben            looks at version 1
   2     Ada            looks at version 1
   3     Ada -> cells   SetCell(run='demo', name='task', value='Ada')
   4   cells -> Ada     answers 2
   5     Ada -> events  AppendEvent(run='demo', event_type='started', payload='Ada')
   6  events -> Ada     answers Event(sequence=0, event_type='started', payload='Ada', timestamp=1700000000000000)
   7     Ben -> cells   SetCell(run='demo', name='task', value='Ben')
   8   cells -> Ben     answers 3
   9     Ben -> events  AppendEvent(run='demo', event_type='started', payload='Ben')
  10  events -> Ben     answers Event(sequence=1, event_type='started', payload='Ben', timestamp=1700000000000000)

with cas, 500 schedules end well
""",
    "resume_crashed.py": """\
starting a worker; steps done: {'invoice': 0, 'report': 0}
  invoice, step 1: answered
  invoice, step 2: killed
starting a worker; steps done: {'invoice': 1, 'report': 0}
  invoice, step 2: answered
  invoice, step 3: answered
  report, step 1: answered
  report, step 2: killed
starting a worker; steps done: {'report': 1}
  report, step 2: answered
  report, step 3: answered
invoice: Completed, steps [1, 2, 3]
report: Completed, steps [1, 2, 3]
the worker was killed twice; no step is missing, none happened twice
""",
}


def run(name, folder):
    program = [sys.executable, "-W", "error", "-X", "dev", EXAMPLES / name]
    result = subprocess.run(program, cwd=folder, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


@pytest.mark.parametrize("name", OUTPUT)
def test_an_example_runs_and_prints_its_story(name, tmp_path):
    assert run(name, tmp_path) == OUTPUT[name]
    assert list(tmp_path.iterdir()) == []


def test_no_example_is_forgotten():
    assert {path.name for path in EXAMPLES.glob("*.py")} == OUTPUT.keys()
