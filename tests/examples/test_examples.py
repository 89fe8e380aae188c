"""Every example runs, proves its own claims, and prints what a stranger needs to understand it."""

import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import inmem
from tests.docs.page import complaints

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

OUTPUT = {
    "asyncio_agents.py": """\
spring cleaning: 60 tasks
up to ten of the twenty agents were cancelled while working
60 tasks done: none lost, none done twice
""",
    "live_view.py": """\
the view counted 25 calls or a few more while the agents were working, then stopped
after both databases were reopened, it counted the rest
120 calls by 3 agents in total, each counted once
asking for changes that are no longer kept raises WatchGapError
""",
    "agents_session.py": """\
first:   I know 1 items
later:   I know 3 items
notes:   each clerk's two notes are adjacent
mistake: I know 9 items
event:   taken back {'question': 'cancel everything', 'answer': 'I know 9 items'}
""",
    "agent_memory.py": """\
planned:  five writes to four primitives, one commit
failed:   320 exceeds the budget of 250
          that step stored nothing
chosen:   {'to': 'OSL', 'price': 210} with a budget of 250, then 220
memory:   ['flight', 'goal', 'plan_trace']
events:   ['planned', 'chosen']
reasoning:
  Thought
    ToolCall
      Decision
""",
    "audit.py": """\
0. the original is intact; the auditor saves the last hash of each run: march, april
1. a forger changes a byte in a copy
   refused: 000000000001.wal is damaged
2. the forger changes a byte in a copy and fixes all checksums
   march: event 2 does not have the hash of its content
3. the forger rewrites the whole history with another amount
   march: the chain is valid, but its last hash is not the saved one
the original is unchanged
""",
    "handover.py": """\
round 1: researcher
round 1: writer
round 2: researcher
round 2: writer
round 3: researcher
round 3: writer
each turn was taken once; messages that arrived out of turn were ignored
""",
    "langgraph_approval.py": """\
a process starts the agent
  search:  found 12A to Oslo
  reserve: killed
another process resumes it
  reserve: 12A is held
  asks:    12A to Oslo?
the answer arrives the next day
  book:    1C
events: ['12A', '1C']
history: ['__start__', 'search', 'reserve', 'approve', 'book']
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

with cas, 500 schedules pass
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
the worker was killed twice; no step was lost or repeated
""",
}

NEEDS = {"agents_session.py": "agents", "langgraph_approval.py": "langgraph"}
"""What must be installed for an example beside the package itself: the extra it is about."""


def run(name, folder):
    program = [sys.executable, "-W", "error", "-X", "dev", EXAMPLES / name]
    result = subprocess.run(program, cwd=folder, capture_output=True, text=True, check=False)
    assert (result.returncode, complaints(result.stderr)) == (0, "")
    return result.stdout


@pytest.mark.parametrize("name", OUTPUT)
def test_an_example_runs_and_prints_its_story(name, tmp_path):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason="the extra of this example is not installed")
    assert run(name, tmp_path) == OUTPUT[name]
    assert list(tmp_path.iterdir()) == []


def test_no_example_is_forgotten():
    assert {path.name for path in EXAMPLES.glob("*.py")} == OUTPUT.keys()


def test_no_run_is_registered_without_the_cursor_that_resuming_it_needs(tmp_path):
    example = runpy.run_path(str(EXAMPLES / "resume_crashed.py"))
    example["Supervisor"].register(SimpleNamespace(path=tmp_path), example["RUNS"])
    with inmem.open(tmp_path) as db:
        assert db.version == len(example["RUNS"]), "one commit each: nobody is killed between the two"
