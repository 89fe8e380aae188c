"""LangGraph's own tests of a checkpointer: the whole of the package langgraph-checkpoint-conformance."""

import asyncio

import pytest

import inmem

pytest.importorskip("langgraph.checkpoint.conformance", reason="langgraph-checkpoint-conformance is not installed")

from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import Capability

from inmem.integrations.langgraph import InmemSaver

TESTS = 81
"""As of version 0.0.2. Fewer would mean that a part of them was skipped."""


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
def test_the_saver_passes_every_test_of_every_capability(tmp_path, dispatcher):
    @checkpointer_test(name="InmemSaver")
    async def saver():
        with inmem.open(tmp_path / "agent.db", durability="interval", dispatcher=dispatcher) as db:
            yield InmemSaver(db)
            assert db.verify().is_valid

    report = asyncio.run(validate(saver))

    assert [failure for result in report.results.values() for failure in result.failures] == []
    assert {name for name, result in report.results.items() if result.passed} == {
        str(each.value) for each in Capability
    }
    assert sum(result.tests_passed for result in report.results.values()) >= TESTS
