"""Every snippet of the README and of docs/ does what the page says. What can be shown, and how, tells page.py."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.page import PageError, blocks_of, complaints, run_page

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

NEEDS = {"langgraph.md": "langgraph", "openai-agents.md": "agents", "opentelemetry.md": "opentelemetry.sdk"}
"""What must be installed for a page of docs/integrations beside the package itself: the extra it is about."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_shows_the_truth(page, tmp_path):
    if page.parent.name == "integrations":
        pytest.importorskip(NEEDS[page.name], reason="the extra of this page is not installed")
    # A process of its own: some pages stop every actor, or are about what is left behind by a killed process.
    program = [sys.executable, "-W", "error", "-X", "dev", ROOT / "tests" / "docs" / "page.py", page]
    result = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, complaints(result.stderr)) == (0, "", "")


def test_the_main_pages_show_something():
    for name in ("tutorial", "transactions", "migration", "durability", "errors", "../README"):
        blocks = blocks_of((ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8"))
        assert any(block.language == "python" for block in blocks), name


@pytest.mark.parametrize(
    "text",
    [
        "```python\nprint(1)\n```\n",
        "```python\nprint(1)\n```\n\n```output\n2\n```\n",
        "```python\nprint(1)\n```\n\ntext\n\n```output\n1\n```\n",
        "```python raises=ValueError\npass\n```\n",
        "```python raises=ValueError\nint('x')\n```\n\n```output\nValueError: no\n```\n",
        "```output\n1\n```\n",
        "```python\n",
        "```py\n1\n```\n",
        "```console\n$ inmem no-such-command\n```\n",
        "```console\n$ python -c 'print(1)'\n2\n```\n",
        "```console\n$ python -c 'print(1)'\n```\n",
        "```console\n$ python -c 'import sys; print(1, file=sys.stderr)'\n```\n",
        "```console\n$ python -c 'print(1)'\n1\nKilled\n```\n",
        "```console\n$ python -c 'import os; os.kill(os.getpid(), 9)'\n```\n",
    ],
)
def test_a_page_that_is_not_true_is_found_out(text):
    with pytest.raises(PageError):
        run_page(text, "page.md")


def test_an_exception_that_nobody_expects_names_the_line_of_the_page():
    with pytest.raises(ZeroDivisionError) as caught:
        run_page("# Title\n\n```python\nx = 1\n1 / 0\n```\n", "page.md")
    assert caught.traceback[-1].lineno + 1 == 5


def test_the_blocks_of_a_page_are_one_program():
    run_page(
        "```python\nx = 1\nprint(x)\n```\n\n```output\n1\n```\n"
        "```python\nprint(x + 1, id(x))\n```\n```output\n2 ...\n```\n"
        "```python raises=ValueError\nint('z')\n```\n```output\nValueError: invalid ... 'z'\n```\n",
        "page.md",
    )
