"""The help of every command, as shown in docs/cli.md.

    python -m tests.docs.cli_page

writes it into the page, into the block below each command's heading; missing headings and blocks are added.
"""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner

from inmem.cli.app import app

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
TOP = "inmem"


def help_of(name: str) -> str:
    """Return the help of a command, or of `inmem` itself, on a terminal of 80 columns."""
    arguments = ["--help"] if name == TOP else [name.removeprefix("inmem "), "--help"]
    result = CliRunner(catch_exceptions=False).invoke(app, arguments, env={"COLUMNS": "80"})
    return result.stdout.rstrip()


def sections() -> list[str]:
    """Return the headings that the page must have, in order."""
    return [TOP, *(f"inmem {command.name}" for commands in app.sections.values() for command in commands)]


def shown_in(page: str) -> dict[str, str]:
    """Return heading → help as shown in the page."""
    return dict(re.findall(r"^## `(inmem.*?)`\n.*?^```text\n(.*?)\n```$", page, re.MULTILINE | re.DOTALL))


def rewritten(page: str) -> str:
    """Return the page with the current help."""
    for name in sections():
        heading = f"## `{name}`\n"
        if heading not in page:
            page += f"\n{heading}\n```text\n```\n"
        before, after = page.split(heading)
        prose, opening, rest = after.partition("```text\n")
        _, closing, rest = rest.partition("```\n")
        page = "".join((before, heading, prose, opening, help_of(name), "\n", closing, rest))
    return page


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
