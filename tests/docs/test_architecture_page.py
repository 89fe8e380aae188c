"""The numbered steps that docs/architecture.md shows are those that the modules open with."""

from pathlib import Path

from inmem.actors import supervisor
from inmem.engine.commits import pipeline
from tests.docs.page import blocks_of

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "architecture.md").read_text(encoding="utf-8")


def steps_of(docstring: str) -> str:
    """Return the indented lines of a module's docstring."""
    return "".join(f"{line[4:]}\n" for line in docstring.splitlines() if line.startswith("    "))


def test_the_steps_are_those_of_the_code():
    shown = [block.text for block in blocks_of(PAGE) if block.language == "text"]
    assert steps_of(str(pipeline.__doc__)) in shown
    assert steps_of(str(supervisor.__doc__)) in shown
