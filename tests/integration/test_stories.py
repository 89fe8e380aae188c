"""tests/STORIES.md names tests for every story; here is that these tests exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (TESTS / "STORIES.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| story")
]


@cache
def names_in(path):
    """Return the names at the top level of a file that pytest collects: functions, and classes under any name."""
    names = set()
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        match statement:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Assign(targets=[ast.Name(id=name)]):
                names.add(name)
    return {name for name in names if name.startswith(("test_", "Test"))}


def is_there(reference):
    path, _, name = reference.partition("::")
    if not name:
        return (TESTS.parent / path).is_file()
    return (TESTS / path).is_file() and name in names_in(TESTS / path)


@pytest.mark.parametrize(("story", "shown_by"), ROWS, ids=[story for story, _ in ROWS])
def test_what_is_named_exists(story, shown_by):
    references = re.findall(r"`([^`]+)`", shown_by)
    assert references
    assert [reference for reference in references if not is_there(reference)] == []


def test_every_numbered_story_is_there():
    numbers = {int(story.split()[0]) for story, _ in ROWS if story[0].isdigit()}
    assert numbers == set(range(6, 20))


def test_a_test_that_does_not_exist_is_noticed():
    assert not is_there("integration/test_stories.py::test_that_nobody_wrote")
    assert not is_there("integration/test_nothing.py::test_every_numbered_story_is_there")
    assert not is_there("integration/test_stories.py::is_there")
    assert not is_there("benchmarks/nothing.py")
