"""Whatever takes a database says at once, and what to pass instead, when it is given something else."""

import asyncio
from importlib import import_module

import pytest

import inmem
import inmem.aio
from inmem.otlp import run_to_otlp


def made(module, name, *before):
    """Return a function of a database that imports the module, or skips the test where its extra is missing."""

    def make(db):
        pytest.importorskip(module)
        return getattr(import_module(module), name)(*before, db)

    return make


TAKERS = [
    pytest.param(made("inmem.integrations.langgraph", "InmemSaver"), "db", id="InmemSaver"),
    pytest.param(made("inmem.integrations.langgraph", "InmemStore"), "db", id="InmemStore"),
    pytest.param(made("inmem.integrations.openai_agents", "InmemSession", "ada"), "db", id="InmemSession"),
    pytest.param(made("inmem.integrations.opentelemetry", "InmemSpanExporter"), "db", id="InmemSpanExporter"),
    pytest.param(lambda db: run_to_otlp(db, "run"), "db", id="run_to_otlp"),
    pytest.param(made("inmem.ui", "start"), "database", id="ui.start"),
    pytest.param(made("inmem.ui", "serve"), "database", id="ui.serve"),
]


@pytest.mark.parametrize(("take", "argument"), TAKERS)
def test_a_handle_for_coroutines_is_refused_with_the_one_to_pass(take, argument):
    async def story():
        async with inmem.aio.open(":memory:") as db:
            with pytest.raises(inmem.UsageError, match=rf"^{argument}: .*: pass {argument}\.plain$"):
                await asyncio.to_thread(take, db)

    asyncio.run(story())


@pytest.mark.parametrize(("take", "argument"), TAKERS)
@pytest.mark.parametrize("other", [None, 7, b"agent.db", inmem], ids=["None", "int", "bytes", "module"])
def test_what_is_no_database_is_refused(take, argument, other):
    kind = type(other).__name__
    with pytest.raises(inmem.UsageError, match=rf"^{argument}: must be an inmem\.Database, .*, not {kind}$"):
        take(other)


@pytest.mark.parametrize(("take", "argument"), TAKERS[:5])
def test_a_path_is_refused_where_no_folder_is_meant(tmp_path, take, argument):
    with pytest.raises(inmem.UsageError, match=f"^{argument}: "):
        take(tmp_path / "agent.db")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(("take", "argument"), TAKERS[:5])
def test_the_plain_handle_of_one_for_coroutines_is_accepted(take, argument):
    async def story():
        async with inmem.aio.open(":memory:") as db:
            await asyncio.to_thread(take, db.plain)

    asyncio.run(story())
