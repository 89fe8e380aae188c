"""Victims that start cheaply: one process imports everything once, and forks a child for each short-lived victim.

Starting an interpreter and importing the store takes longer than most victims in this folder live. The nursery itself
never opens a store and has only one thread, so its children are equivalent to new processes.

    python -m tests.crash.nursery DESCRIPTOR        (of the socket from which it reads orders)
"""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Self

ROOT = Path(__file__).parents[2]
_ORDER_BYTES_MAX = 65_536


class Victim:
    """A process that runs until it is killed or ends by itself. As a context manager it is killed on exit.

    Attributes:
        pid: its process id.
        said: its standard output.
        returncode: like that of `subprocess.Popen`; None until `wait` has returned.
    """

    def __init__(self, control: socket.socket, pid: int, said: BinaryIO) -> None:
        self._control = control
        self.pid = pid
        self.said = said
        self.returncode: int | None = None

    def send_signal(self, signum: int) -> None:
        """Send a signal. The process exists, alive or as a zombie, until `wait` has returned."""
        if self.returncode is None:
            os.kill(self.pid, signum)

    def wait(self) -> int:
        """Wait for the process to end; return its exit code, or -N if signal N has ended it."""
        if self.returncode is None:
            self.returncode = _order(self._control, wait=self.pid)
        return self.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.send_signal(signal.SIGKILL)
        self.wait()
        self.said.close()


class Nursery:
    """Forks victims. For use by one thread at a time; several victims may run at the same time."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    def victim(self, function: str, *arguments: str) -> Victim:
        """Run `module:function` with these arguments in a child whose standard output is a pipe."""
        reading, writing = os.pipe()
        pid = _order(self._control, [writing], run=function, arguments=arguments)
        os.close(writing)
        return Victim(self._control, pid, os.fdopen(reading, "rb"))


@contextmanager
def nursery() -> Iterator[Nursery]:
    """Start a nursery in a separate process, which ends with the block."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "tests.crash.nursery", str(theirs.fileno())]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, pass_fds=[theirs.fileno()])
    theirs.close()
    try:
        with ours:
            yield Nursery(ours)
    finally:
        process.wait(60)


def _order(control: socket.socket, descriptors: list[int] | None = None, **order: Any) -> int:
    socket.send_fds(control, [json.dumps(order).encode()], descriptors or [])
    answer = control.recv(_ORDER_BYTES_MAX)
    if not answer:
        raise EOFError("the nursery has died")
    return int(answer)


def _serve(control: socket.socket) -> None:
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, _ORDER_BYTES_MAX, 1)
        if not data:
            return
        order = json.loads(data)
        if "wait" in order:
            answer = os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1])
        else:
            answer = os.fork()
            if not answer:
                control.close()
                os.dup2(descriptors[0], 1)
            os.close(descriptors[0])
            if not answer:
                # An exception ends the child like any program, with a traceback.
                _live(order["run"], order["arguments"])
        control.send(str(answer).encode())


def _live(function: str, arguments: list[str]) -> None:
    """Run a function and exit, running the exit functions. Never returns."""
    module, _, name = function.partition(":")
    getattr(importlib.import_module(module), name)(*arguments)
    sys.exit()


if __name__ == "__main__":
    # The modules that victims need, imported once.
    importlib.import_module("tests.crash.committer")
    importlib.import_module("tests.crash.victim")
    _serve(socket.socket(fileno=int(sys.argv[1])))
