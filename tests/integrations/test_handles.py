"""Whatever takes a database says at once, and what to pass instead, when it is given something else."""

import asyncio
import uuid
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


def saver(db, **arguments):
    return pytest.importorskip("inmem.integrations.langgraph").InmemSaver(db, **arguments)


def store(db, **arguments):
    return pytest.importorskip("inmem.integrations.langgraph").InmemStore(db, **arguments)


def session(db, session_id):
    return pytest.importorskip("inmem.integrations.openai_agents").InmemSession(session_id, db)


BAD_ARGUMENTS = {
    "allowed_types, a str": (lambda db: saver(db, allowed_types="abc"), "allowed_types"),
    "allowed_types, an int in it": (lambda db: saver(db, allowed_types=[5]), "allowed_types"),
    "allowed_types, an enum": (lambda db: saver(db, allowed_types=inmem.RunStatus), "allowed_types"),
    "allowed_types, a name without a module": (lambda db: saver(db, allowed_types=[("A",)]), "allowed_types"),
    "allowed_types, None": (lambda db: saver(db, allowed_types=None), "allowed_types"),
    "on_put": (lambda db: saver(db, on_put=5), "on_put"),
    "bound": (lambda db: saver(db).bound(5), "txn"),
    "run of the store, empty": (lambda db: store(db, run=""), "run id"),
    "run of the store, an int": (lambda db: store(db, run=5), "run id"),
    "session_id": (lambda db: session(db, ""), "run id"),
    "items": (lambda db: asyncio.run(session(db, "s").add_items(5)), "items"),
    "service_name": (lambda db: run_to_otlp(db, "r", service_name=object()), "service_name"),
    "on_start": (lambda db: pytest.importorskip("inmem.ui").serve(db, on_start=5), "on_start"),
}


@pytest.mark.parametrize(("call", "place"), BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS)
def test_a_bad_argument_is_refused_at_the_call_that_takes_it(call, place):
    with inmem.open(":memory:") as db:
        with pytest.raises(inmem.InmemError, match=place):
            call(db)
        assert db.version == 0


def test_the_id_of_a_session_is_a_str():
    run = uuid.uuid4()
    with inmem.open(":memory:") as db:
        assert session(db, run).session_id == str(run)
