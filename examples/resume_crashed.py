"""A supervisor agent resumes runs whose process was killed.

A worker process works through its runs step by step. Each step is one transaction: it calls a tool, appends events and
moves the run's cursor, a StateCell. The supervisor kills the worker twice with SIGKILL, each time in the middle of a
transaction. Each time it then opens the database, finds the runs that are still Active and how many steps they have
done, and starts another worker. In the end every step of every run has happened exactly once.

    python examples/resume_crashed.py
"""

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pykka

import inmem

RUNS = ("invoice", "report")
STEPS = 3


def work(path: str) -> None:
    """Continue every Active run. The worker process does nothing else and has no code for crashes."""
    with inmem.open(path) as db:
        for run in db.runs.query_runs(status="Active"):
            while take_step(db, run.run_id):
                pass


def take_step(db: inmem.Database, run: str) -> bool:
    """Take the run's next step; return False if no step is left."""
    with db.begin(run) as txn:
        done = txn.cells.read("done")
        if done is None or done.value == STEPS:
            return False
        number = done.value + 1
        txn.events.append("asked", {"step": number})
        txn.events.append("answered", {"step": number, "answer": ask_tool(f"{run}, step {number}")})
        txn.cells.cas("done", done.version, number)
        if number == STEPS:
            txn.runs.complete_run(run)
    return True


def ask_tool(question: str) -> str:
    """Call a slow tool: here, the supervisor answers through the pipe."""
    print(question, flush=True)
    return input()


class Supervisor(pykka.ThreadingActor):
    """Looks after the runs of one database."""

    # Lets the process exit after Ctrl-C even if nothing has stopped this actor.
    use_daemon_thread = True

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def register(self, runs: tuple[str, ...]) -> None:
        """Register the runs. Each run and its cursor are one commit, so a kill leaves both or neither."""
        with inmem.open(self.path) as db:
            for run in runs:
                with db.begin(run) as txn:
                    txn.runs.create_run(run, metadata={"steps": STEPS})
                    txn.cells.init("done", 0)

    def unfinished(self) -> dict[str, int]:
        """Return how many steps each Active run has done. A killed worker no longer holds the database's lock."""
        found = {}
        with inmem.open(self.path) as db:
            for run in db.runs.query_runs(status="Active"):
                done = db.cells.read(run.run_id, "done")
                found[run.run_id] = 0 if done is None else done.value
        return found

    def run_worker(self, answers: int | None) -> int:
        """Start a worker and return its exit code. Kill it after `answers` answers, or never if None."""
        command = [sys.executable, __file__, self.path]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:  # noqa: S603
            if worker.stdin is None or worker.stdout is None:
                raise RuntimeError("the worker has no pipes")
            for count, question in enumerate(worker.stdout):
                if count == answers:
                    print(f"  {question.strip()}: killed")
                    worker.kill()
                    break
                print(f"  {question.strip()}: answered")
                worker.stdin.write("yes\n")
                worker.stdin.flush()
        return worker.returncode


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "runs.db"))
        supervisor = Supervisor.start(path).proxy()
        supervisor.register(RUNS).get()
        for answers in (1, 3, None):
            print("starting a worker; steps done:", supervisor.unfinished().get())
            exit_code = supervisor.run_worker(answers).get()
            assert exit_code == (0 if answers is None else -signal.SIGKILL)
        assert supervisor.unfinished().get() == {}
        supervisor.stop()

        with inmem.open(path) as db:
            for run in RUNS:
                metadata = db.runs.get_run(run)
                assert metadata is not None
                steps = [event.payload["step"] for event in db.events.read_by_type(run, "answered")]
                print(f"{run}: {metadata.status}, steps {steps}")
                assert metadata.status is inmem.RunStatus.COMPLETED
                assert steps == list(range(1, STEPS + 1))
                # The killed transactions left nothing, not even their "asked" events.
                assert db.events.len(run) == 2 * STEPS
            assert db.verify().is_valid
        print("the worker was killed twice; no step was lost or repeated")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        work(sys.argv[1])
    else:
        main()
