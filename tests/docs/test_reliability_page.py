"""docs/reliability.md names tests that exist, and figures that are those of the tests."""

import re
from pathlib import Path

import pytest

from tests.actors.test_failpoints import PRIMITIVE_ACTORS, UNSUPERVISED, all_actors, handled_by
from tests.crash.test_kill import DISPATCHERS, DURABILITIES, KILLS_BY_DEFAULT
from tests.engine.test_recovery import small_database
from tests.integration.test_stories import is_there
from tests.simulation.planted import PLANTED

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
CI = ROOT / ".ci" / "run"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith(("| fault", "| mistake", "| what"))
]
FAULTS = [row for row in ROWS if "::" in row[-1]]
FIGURES = {row[0]: row[1] for row in ROWS if "::" not in row[-1]}
_REFERENCE = re.compile(r"`([^`]+::[^`]+)`")


@pytest.mark.parametrize("row", FAULTS, ids=lambda row: row[0])
def test_every_test_that_is_named_exists(row):
    references = _REFERENCE.findall(row[-1])
    assert references
    assert [reference for reference in references if not is_there(reference)] == []


def test_every_row_is_a_fault_or_a_figure():
    assert len(FAULTS) > 45
    assert len(FAULTS) + len(FIGURES) == len(ROWS)
    assert _REFERENCE.findall(PAGE.split("## What is promised", maxsplit=1)[0])


def number(what):
    """Return the first number of a figure."""
    found = re.search(r"\d[\d,]*", FIGURES[what])
    return int(found[0].replace(",", ""))


def test_the_figures_are_those_of_the_tests():
    assert number("kills with -9 under load") == KILLS_BY_DEFAULT * len(DISPATCHERS) * len(DURABILITIES)
    content = small_database().content()
    assert number("bytes altered") == sum(map(len, content.values()))
    segment = max(name for name in content if name.endswith(".wal"))
    assert f"all {len(content[segment]) + 1} of a segment" in FIGURES["offsets at which the last group is torn"]
    assert number("bugs planted and found") == len(PLANTED)
    supervised = [actor_class for actor_class in all_actors() if actor_class not in UNSUPERVISED]
    handlers = sum(
        len(actor_class.HANDLES) if actor_class in PRIMITIVE_ACTORS.values() else len(handled_by(actor_class))
        for actor_class in supervised
    )
    assert number("handlers that raise") == handlers


@pytest.mark.skipif(not CI.exists(), reason="continuous integration is not set up beside the tests")
def test_the_figure_of_continuous_integration_is_its_own():
    seeds = re.search(r"INMEM_SEEDS:-(\d+)", CI.read_text(encoding="utf-8"))
    assert number("seeds of the simulation's main workload") == int(seeds[1])
