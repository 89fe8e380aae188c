"""docs/options.md tells of every option and every limit as they are."""

import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest

import inmem
from inmem.actors.options import Options
from inmem.engine.limits import GREATEST
from tests.docs.test_limits import in_words

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "options.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\| `(\w+)` \| (.*?) ?\| (.+?) \| .+ \|$", re.MULTILINE)
ROWS = {name: (default.strip("`"), accepted) for name, default, accepted in _ROW.findall(PAGE)}
OPTIONS = inspect.signature(inmem.open).parameters


def shown(default: object) -> str:
    """Return a default as the page shows it."""
    if default is inspect.Parameter.empty:
        return ""
    return "Limits()" if isinstance(default, inmem.Limits) else repr(default)


@pytest.mark.parametrize("function", [inmem.spawn, Options.checked])
def test_the_options_of_all_that_take_them_are_the_same(function):
    others = inspect.signature(function).parameters
    assert [(option.name, option.default) for option in OPTIONS.values()] == [
        (option.name, option.default) for option in others.values()
    ]


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_is_described_with_its_default(name):
    assert ROWS[name][0] == shown(OPTIONS[name].default)


@pytest.mark.parametrize("field", fields(inmem.Limits), ids=lambda field: field.name)
def test_a_limit_is_described_with_its_default_and_its_maximum(field):
    default, maximum = ROWS[field.name]
    assert default == in_words(field.default)
    greatest = GREATEST[field.name]
    assert maximum == ("2^63 - 1" if greatest == 2**63 - 1 else in_words(greatest))


def signatures():
    """Yield the name, as the page writes it, and the signature of every method of the proxies."""
    with inmem.open(":memory:") as db:
        for proxy in ("kv", "events", "cells", "traces", "runs"):
            for name, method in inspect.getmembers(getattr(db, proxy), inspect.ismethod):
                yield f"{proxy}.{name}", inspect.signature(method)


def test_what_has_no_cursor_is_named():
    without = {name for name, taken in signatures() if "limit" in taken.parameters and "after" not in taken.parameters}
    [line] = [line for line in PAGE.splitlines() if line.startswith("These have no `after=`: ")]
    assert set(re.findall(r"`(\w+\.\w+)`", line)) == without


def test_what_takes_no_limit_is_named():
    without = {
        name
        for name, taken in signatures()
        if "limit" not in taken.parameters and re.search(r"list\[|Tree", str(taken.return_annotation))
    }
    [line] = [line for line in PAGE.splitlines() if line.startswith("These have no `limit=`: ")]
    assert set(re.findall(r"`(\w+\.\w+)`", line)) == without - {"events.append_many"}


def test_nothing_else_is_described():
    assert ROWS.keys() == {*OPTIONS, *(field.name for field in fields(inmem.Limits))}
