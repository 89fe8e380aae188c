"""docs/errors.md tells of every error, and nothing that is not so."""

import inspect
import re
from pathlib import Path

import pytest

import inmem
from inmem.engine import errors
from tests.docs.page import blocks_of

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "errors.md").read_text(encoding="utf-8")
ERRORS = [
    error
    for error in vars(errors).values()
    if inspect.isclass(error) and issubclass(error, errors.InmemError) and error.__module__ == "inmem"
]
_SAMPLES = {"str": "x", "int": 1, "float": 1.0}
_ROW = re.compile(r"^\| `(\w+)` \|(.*?)\| (yes|no) \| (.+) \|$", re.MULTILINE)
ROWS = {name: (facts, retryable) for name, facts, retryable, _ in _ROW.findall(PAGE)}


def tree(error: type[Exception] = errors.InmemError, depth: int = 0) -> list[str]:
    """Return the class and, below it, its subclasses in the order in which they are defined."""
    foreign = [base.__name__ for base in error.__bases__[1:]]
    also = f" (also a {', '.join(foreign)})" if foreign else ""
    lines = [f"{'    ' * depth}{error.__name__}{also}"]
    for child in ERRORS:
        if child.__bases__[0] is error:
            lines += tree(child, depth + 1)
    return lines


def facts_of(error: type[Exception]) -> set[str]:
    """Return the attributes of an instance of the error."""
    if not any("__init__" in vars(parent) for parent in error.__mro__ if parent in ERRORS):
        return set()
    parameters = inspect.signature(error).parameters.values()
    arguments = [
        _SAMPLES.get(parameter.annotation, ())
        for parameter in parameters
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    return set(vars(error(*arguments)))


def test_the_tree_is_the_tree():
    [shown] = [block.text for block in blocks_of(PAGE) if block.language == "text"]
    assert shown.splitlines() == tree()


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_an_error_is_described_as_it_is(error):
    facts, retryable = ROWS[error.__name__]
    assert set(re.findall(r"`(\w+)`", facts)) == facts_of(error)
    assert retryable == ("yes" if error.retryable else "no")
    assert getattr(inmem, error.__name__) is error


def test_nothing_else_is_described():
    assert ROWS.keys() == {error.__name__ for error in ERRORS}
