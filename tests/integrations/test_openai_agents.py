"""The Agents SDK's session: with the SDK's own runner and a model of our own, and under many hands at once."""

import asyncio
import enum
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import inmem

pytest.importorskip("agents", reason="the extra openai-agents is not installed")

from agents import Agent, ModelResponse, RunConfig, Runner, Usage, function_tool
from agents.memory import Session, SessionSettings, SQLiteSession
from agents.models.interface import Model
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from inmem.integrations.openai_agents import InmemSession


def run(agent, text, session):
    # Not run_sync, which leaves its event loop open; and traces would be sent to OpenAI.
    config = RunConfig(tracing_disabled=True)
    return asyncio.run(Runner.run(agent, text, session=session, run_config=config))


@pytest.fixture
def db():
    with inmem.open(":memory:") as database:
        yield database


def items_of(*numbers):
    return [{"role": "user", "content": str(number)} for number in numbers]


def numbers_of(items):
    return [int(item["content"]) for item in items]


class Scripted(Model):
    """Answers in turn what it was given, and keeps what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.inputs = []

    async def get_response(self, system_instructions, input, *args, **kwargs):  # noqa: A002  (the SDK's name)
        self.inputs.append(input)
        return ModelResponse(output=[self.answers.pop(0)], usage=Usage(), response_id=None)

    def stream_response(self, *args, **kwargs):
        raise NotImplementedError


def says(text):
    content = [ResponseOutputText(text=text, type="output_text", annotations=[])]
    return ResponseOutputMessage(id="m", content=content, role="assistant", status="completed", type="message")


def calls_tool(name, arguments):
    return ResponseFunctionToolCall(name=name, arguments=arguments, call_id="c1", type="function_call")


@function_tool
def find_seat(city: str) -> str:
    """Find a seat."""
    return f"12A to {city}"


def texts(items):
    """Return what each item says, whatever kind it is."""
    return [item.get("output") or item.get("name") or str(item["content"]) for item in items]


def test_it_is_a_session_of_the_sdk(db):
    assert isinstance(InmemSession("talk", db), Session)


def test_the_sdks_runner_goes_on_with_the_conversation_after_reopening(tmp_path):
    with inmem.open(tmp_path / "db") as db:
        model = Scripted(calls_tool("find_seat", '{"city": "Oslo"}'), says("12A it is"))
        agent = Agent("travel", model=model, tools=[find_seat])
        result = run(agent, "a seat to Oslo", InmemSession("talk", db))
        assert result.final_output == "12A it is"

    with inmem.open(tmp_path / "db") as db:
        model = Scripted(says("you are welcome"))
        session = InmemSession("talk", db)
        run(Agent("travel", model=model), "thanks", session)

        kinds = [item.get("type", item.get("role")) for item in model.inputs[0]]
        assert kinds == ["user", "function_call", "function_call_output", "message", "user"]
        stored = asyncio.run(session.get_items())
        assert stored[2]["output"] == "12A to Oslo"
        assert stored[4] == {"role": "user", "content": "thanks"}
        assert len(stored) == 6
        assert db.verify().is_valid


def test_the_runner_takes_the_sessions_limit(db):
    session = InmemSession("talk", db, session_settings=SessionSettings(limit=2))
    asyncio.run(session.add_items(items_of(*range(5))))
    model = Scripted(says("ok"))
    run(Agent("travel", model=model), "5", session)
    assert numbers_of(model.inputs[0]) == [3, 4, 5]


def test_items_are_added_read_popped_and_cleared_in_order(db):
    async def story():
        session = InmemSession("talk", db)
        assert await session.get_items() == []
        assert await session.pop_item() is None
        await session.add_items([])
        assert db.version == 0

        await session.add_items(items_of(1, 2, 3))
        await session.add_items(items_of(4))
        assert numbers_of(await session.get_items()) == [1, 2, 3, 4]
        assert numbers_of(await session.get_items(limit=2)) == [3, 4]
        assert numbers_of(await session.get_items(limit=9)) == [1, 2, 3, 4]
        assert await session.get_items(limit=0) == []
        assert numbers_of([await session.pop_item()]) == [4]
        await session.add_items(items_of(5))
        assert numbers_of(await session.get_items()) == [1, 2, 3, 5]

        await session.clear_session()
        assert await session.get_items() == []
        assert await session.pop_item() is None
        await session.add_items(items_of(6))
        assert numbers_of(await session.get_items()) == [6]

    asyncio.run(story())
    assert db.runs.get_run("talk").tags == ("openai-agents",)


@pytest.mark.parametrize("limit", [None, -9, -1, 0, 1, 2, 3, 9])
@pytest.mark.parametrize("settings", [None, {}, {"limit": 1}, {"limit": -1}, SessionSettings(limit=2)])
def test_limits_mean_what_they_mean_in_the_sdks_own_session(db, settings, limit):
    """A negative limit gave nothing, and settings that were a dict an AttributeError at the first read."""

    async def read(session):
        await session.add_items(items_of(1, 2, 3))
        return session.session_settings, await session.get_items(limit)

    theirs = SQLiteSession("talk", session_settings=settings)
    try:
        assert asyncio.run(read(InmemSession("talk", db, session_settings=settings))) == asyncio.run(read(theirs))
    finally:
        theirs.close()


def test_settings_that_are_none_are_refused_when_the_session_is_made(db):
    with pytest.raises(TypeError, match="must be a SessionSettings instance or a dict, got int"):
        InmemSession("talk", db, session_settings=1)


@pytest.mark.parametrize(
    ("session_id", "reason"),
    [("", "must not be empty"), (5, "must be a str or a uuid.UUID, not int"), ("x" * 256, "at most 255")],
)
def test_an_id_that_is_none_is_refused_when_the_session_is_made(db, session_id, reason):
    with pytest.raises(inmem.InvalidKeyError, match=rf"^run id: .*{reason}"):
        InmemSession(session_id, db)


@pytest.mark.parametrize("items", [{"role": "user", "content": "hi"}, {}, "hi", "", b"hi"])
def test_an_item_or_a_text_that_is_no_list_of_items_is_refused_rather_than_taken_apart(db, items):
    with pytest.raises(inmem.UsageError, match=f"^items: must be a list of items, not one {type(items).__name__}"):
        asyncio.run(InmemSession("talk", db).add_items(items))
    assert db.version == 0


def test_all_items_of_an_add_are_one_commit_and_one_that_cannot_be_stored_keeps_the_others_out(db):
    session = InmemSession("talk", db)
    asyncio.run(session.add_items(items_of(*range(50))))
    assert db.version == 1
    with pytest.raises(TypeError):
        asyncio.run(session.add_items([*items_of(50), {"role": "user", "content": object()}]))
    with pytest.raises(inmem.InvalidValueError):
        asyncio.run(session.add_items([*items_of(50), {"role": "user", "content": 2**80}]))
    assert db.version == 1


def test_what_json_makes_plain_is_plain(db):
    class Role(enum.StrEnum):
        USER = "user"

    session = InmemSession("talk", db)
    asyncio.run(session.add_items([{"role": Role.USER, "content": ({"type": "input_text", "text": "hi"},)}]))
    assert asyncio.run(session.get_items()) == [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}]


def test_sessions_of_other_ids_and_other_data_of_the_run_stay_out_of_it(db):
    db.put("talk", "plan", 1)
    db.events.append("talk", "opened")
    asyncio.run(InmemSession("talk", db).add_items(items_of(1)))
    asyncio.run(InmemSession("talk 2", db).add_items(items_of(2)))
    asyncio.run(InmemSession("talk", db).clear_session())
    assert numbers_of(asyncio.run(InmemSession("talk 2", db).get_items())) == [2]
    assert db.kv.list("talk") == ["plan"]
    assert db.events.len("talk") == 1


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
def test_no_item_is_popped_twice_or_lost_in_threads_with_loops_and_sessions_of_their_own(dispatcher):
    with inmem.open(":memory:", dispatcher=dispatcher) as db:
        asyncio.run(InmemSession("talk", db).add_items(items_of(*range(60))))
        start = threading.Barrier(6)

        def popper(_):
            async def pop_all():
                session = InmemSession("talk", db)
                taken = []
                while (item := await session.pop_item()) is not None:
                    taken.append(item)
                return numbers_of(taken)

            start.wait()
            return asyncio.run(pop_all())

        with ThreadPoolExecutor(6) as pool:
            taken = list(pool.map(popper, range(6)))
    assert sorted(number for part in taken for number in part) == list(range(60))
    assert all(part == sorted(part, reverse=True) for part in taken)


def test_no_item_is_popped_twice_by_tasks_while_others_add(db):
    async def story():
        sessions = [InmemSession("talk", db), InmemSession("talk", db)]
        adds = [sessions[n % 2].add_items(items_of(2 * n, 2 * n + 1)) for n in range(20)]
        pops = [sessions[n % 2].pop_item() for n in range(20)]
        done = await asyncio.gather(*(each for pair in zip(adds, pops, strict=True) for each in pair))
        taken = [item for item in done if item is not None]
        return numbers_of(taken), numbers_of(await sessions[0].get_items())

    taken, left = asyncio.run(story())
    assert sorted(taken + left) == list(range(40))
    # An add is whole: where both of its items are left, nobody else's lies between them.
    for first in range(0, 40, 2):
        if first in left and first + 1 in left:
            assert left.index(first + 1) == left.index(first) + 1


def test_a_bound_session_is_part_of_the_transaction(db):
    session = InmemSession("talk", db)

    def take_back(txn):
        item = asyncio.run(session.bound(txn).pop_item())
        txn.events.append("taken back", item)

    def take_back_and_fail():
        with db.begin("talk") as txn:
            take_back(txn)
            raise RuntimeError

    asyncio.run(session.add_items(items_of(1, 2)))
    with pytest.raises(RuntimeError):
        take_back_and_fail()
    assert numbers_of(asyncio.run(session.get_items())) == [1, 2]

    with db.begin("talk") as txn:
        take_back(txn)
    assert numbers_of(asyncio.run(session.get_items())) == [1]
    assert db.events.head("talk").payload == {"role": "user", "content": "2"}


@pytest.mark.parametrize("held", ["three", -1, None, 1.0, True])
def test_a_cell_of_its_name_that_holds_something_else_is_told_of(db, held):
    db.cells.init("s", "openai-agents", held)
    session = InmemSession("s", db)
    for work in (session.get_items(), session.add_items(items_of(1)), session.pop_item(), session.clear_session()):
        with pytest.raises(inmem.UsageError, match="the cell 'openai-agents' of run 's' holds something else"):
            asyncio.run(work)
    assert db.cells.read("s", "openai-agents").value == held
