"""Run the examples of a documentation page, as its reader would.

The fenced blocks of a page, by the word after the backquotes:

    python                 All python blocks are one program, run in order in the current folder.
    python raises=Name     Must end with that exception, which counts as printed output: `Name: message`.
    python title="a.py"    Is saved as that file, for `$ python a.py` below.
    json title="a.json"    The same, for a command that reads it.
    output                 Directly after a python block: the output of that block; `...` matches anything.
                           A python block without an output block must print nothing.
    mermaid                Directly after a python block: the same as output; elsewhere it is not checked.
    console                Lines that begin with `$ inmem` or `$ python` are run in the same folder and must succeed.
                           The lines below such a line are its output and then its errors; `...` matches anything.
                           As in a shell, `Killed` as the last line means that the process died of SIGKILL, and
                           `> file` at the end of the command writes its output to that file. Other commands are not
                           run.
    text, hexdump          Not checked; nor is a block without a word.

    python tests/docs/page.py docs/transactions.md
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

LANGUAGES = frozenset({"", "python", "json", "output", "console", "text", "mermaid", "hexdump"})
_FENCE = re.compile(r"^```(?P<info>.*)$")
_TITLE = re.compile(r'^title="(?P<name>[\w.]+)"$')
PROGRAMS = {"inmem": ("-m", "inmem"), "python": ()}
"""The commands that are run, with their arguments for the interpreter."""
_SLOW_CALLBACK = re.compile(r"^Executing <.*> took \d+\.\d+ seconds\n", re.MULTILINE)
_CHECKER = doctest.OutputChecker()


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, the option after it, its text, and the number of its first line."""

    language: str
    option: str
    text: str
    line: int
    follows_directly: bool
    """Whether only empty lines separate it from the block before."""


class PageError(AssertionError):
    """The page shows something that is not so."""


def blocks_of(text: str) -> list[Block]:
    """Return the fenced blocks of a page."""
    blocks: list[Block] = []
    inside: list[str] | None = None
    info = ""
    line = 0
    directly = False
    for number, content in enumerate(text.splitlines(), 1):
        fence = _FENCE.match(content)
        if inside is not None:
            if content == "```":
                language, _, option = info.partition(" ")
                blocks.append(Block(language, option, "\n".join([*inside, ""]), line, directly))
                inside, directly = None, True
            else:
                inside.append(content)
        elif fence is not None:
            inside, info, line = [], fence["info"], number + 1
            if info.partition(" ")[0] not in LANGUAGES:
                raise PageError(f"line {number}: a block needs one of the languages {', '.join(sorted(LANGUAGES))}")
        elif content.strip():
            directly = False
    if inside is not None:
        raise PageError(f"line {line - 1}: the block does not end")
    return blocks


def complaints(stderr: str) -> str:
    """Return the stderr of a program under `-X dev` without asyncio's warnings about slow callbacks.

    The duration of a callback says more about the machine than about the code.
    """
    return _SLOW_CALLBACK.sub("", stderr)


def run_page(text: str, name: str) -> None:
    """Run all blocks of a page and compare their output.

    Raises:
        PageError: something that the page shows is not so.
        Exception: an unexpected exception of a python block.
    """
    namespace: dict[str, object] = {"__name__": "__main__"}
    blocks = blocks_of(text)
    for block, following in zip(blocks, [*blocks, None][1:], strict=True):
        title = _TITLE.match(block.option)
        if block.language in {"python", "json"} and title is not None:
            Path(title["name"]).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            shown = following is not None and following.language in {"output", "mermaid"} and following.follows_directly
            expected = following.text if following is not None and shown else ""
            printed = _run_python(block, name, namespace)
            _compare(expected, printed, f"{name}, line {block.line}")
        elif block.language == "console":
            _run_console(block, name)
    for before, block in zip([None, *blocks], blocks, strict=False):
        if block.language == "output" and not (block.follows_directly and before and before.language == "python"):
            raise PageError(f"{name}, line {block.line}: output of nothing")


def _run_python(block: Block, name: str, namespace: dict[str, object]) -> str:
    expected_error = block.option.removeprefix("raises=")
    # The empty lines make line numbers in tracebacks those of the page.
    program = compile("\n" * (block.line - 1) + block.text, name, "exec", dont_inherit=True)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            exec(program, namespace)
        except Exception as error:
            if type(error).__name__ != expected_error:
                raise
            printed.write(f"{expected_error}: {error}\n")
        else:
            if expected_error:
                raise PageError(f"{name}, line {block.line}: {expected_error} was not raised")
    return printed.getvalue()


def _run_console(block: Block, name: str) -> None:
    commands: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            commands.append((line[2:], []))
        elif commands:
            commands[-1][1].append(line)
    for command, expected in commands:
        program, *arguments = shlex.split(command)
        if program in PROGRAMS:
            target = Path(arguments.pop()) if arguments[-2:-1] == [">"] else None
            if target is not None:
                arguments.pop()
            result = subprocess.run(
                [sys.executable, *PROGRAMS[program], *arguments], capture_output=True, text=True, check=False
            )
            where = f"{name}, line {block.line}: {command}"
            is_killed = expected[-1:] == ["Killed"]
            if result.returncode != (-signal.SIGKILL if is_killed else 0):
                raise PageError(f"{where}: exit code {result.returncode}\n{result.stderr}")
            if target is not None:
                target.write_text(result.stdout, encoding="utf-8")
            printed = ("" if target is not None else result.stdout) + result.stderr
            printed += "Killed\n" if is_killed else ""
            _compare("\n".join([*expected, ""]) if expected else "", printed, where)


def _compare(expected: str, printed: str, where: str) -> None:
    if not _CHECKER.check_output(expected, printed, doctest.ELLIPSIS):
        raise PageError(f"{where}\nexpected:\n{expected}printed:\n{printed}")


if __name__ == "__main__":
    page = Path(sys.argv[1])
    run_page(page.read_text(encoding="utf-8"), str(page))
