"""The OpenAI Agents SDK with its conversation in an inmem database: persistent, shared, and corrected atomically.

The model is a stub that needs no network: it answers with the number of items it was given. Two clerks write to one
conversation at the same time. A correction removes the last exchange and appends an event about it, in one commit.

    python examples/agents_session.py

Needs the extra `openai-agents`: run pip install '.[openai-agents]' in this clone. `make test` installs it in .venv.
"""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from agents import Agent, ModelResponse, RunConfig, Runner, Usage
from agents.models.interface import Model
from openai.types.responses import ResponseOutputMessage, ResponseOutputText

import inmem
from inmem.integrations.openai_agents import InmemSession


class Counting(Model):
    """A model that answers with the number of items it was given."""

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        """Return the answer as one message."""
        shown = kwargs["input"] if "input" in kwargs else args[1]
        text = ResponseOutputText(text=f"I know {len(shown)} items", type="output_text", annotations=[])
        answer = ResponseOutputMessage(id="1", content=[text], role="assistant", status="completed", type="message")
        return ModelResponse(output=[answer], usage=Usage(), response_id=None)

    def stream_response(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse: this example does not stream."""
        raise NotImplementedError


def say(session: InmemSession, text: str) -> Any:
    agent = Agent("clerk", model=Counting())
    config = RunConfig(tracing_disabled=True)
    result = asyncio.run(Runner.run(agent, text, session=session, run_config=config))
    return result.final_output


async def note_together(db: inmem.Database) -> None:
    """Add the notes of two clerks to one conversation, each through a session of its own."""
    notes = [[{"role": "user", "content": f"{clerk}: {part}"} for part in (1, 2)] for clerk in ("Ada", "Ben")]
    await asyncio.gather(*(InmemSession("customer-7", db).add_items(note) for note in notes))  # type: ignore[arg-type]


def take_back(txn: inmem.Transaction, session: InmemSession) -> None:
    """Remove the last exchange and append an event about it, in one commit."""

    async def last_two() -> list[Any]:
        inside = session.bound(txn)
        return [await inside.pop_item(), await inside.pop_item()]

    answer, question = asyncio.run(last_two())
    txn.events.append("taken back", {"question": question["content"], "answer": answer["content"][0]["text"]})


def main() -> None:
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "talks.db"
        with inmem.open(folder) as db:
            print("first:  ", say(InmemSession("customer-7", db), "a seat to Oslo, please"))

        with inmem.open(folder) as db:
            session = InmemSession("customer-7", db)
            print("later:  ", say(session, "by the window"))

            asyncio.run(note_together(db))
            items: Any = asyncio.run(session.get_items())
            notes = [item["content"] for item in items[4:]]
            assert sorted(notes) == ["Ada: 1", "Ada: 2", "Ben: 1", "Ben: 2"]
            assert notes[0][:3] == notes[1][:3]
            print("notes:   each clerk's two notes are adjacent")

            print("mistake:", say(session, "cancel everything"))
            before = db.version
            db.transaction("customer-7", lambda txn: take_back(txn, session))
            assert db.version == before + 1
            event = db.events.head("customer-7")
            assert event is not None
            print("event:  ", event.event_type, event.payload)
            assert len(asyncio.run(session.get_items())) == 8
            assert db.verify().is_valid


if __name__ == "__main__":
    main()
