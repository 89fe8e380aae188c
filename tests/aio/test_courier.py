"""The courier when the system has no thread left."""

import asyncio
import gc
import threading

import pytest

import inmem.aio
from inmem.actors.courier import Courier
from tests.actors.stage import DISPATCHERS, FAILSAFE_S, Stage


def test_what_no_thread_could_be_started_for_is_not_sent_and_the_next_message_is(monkeypatch):
    stage = Stage(DISPATCHERS["caller"]())
    ref = stage.start()
    courier = Courier(stage.dispatcher)

    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    refused = stage.dispatcher.future()
    with pytest.raises(RuntimeError, match="new thread"):
        courier.send(ref, "refused", refused)
    monkeypatch.undo()
    sent = stage.dispatcher.future()
    courier.send(ref, "sent", sent)
    assert sent.get(timeout=FAILSAFE_S) == "sent"
    assert not refused.done
    courier.close()
    stage.close()


@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
def test_an_opening_that_finds_no_thread_leaves_nothing_open(tmp_path, monkeypatch, dispatcher):
    # What other tests have left behind would want a courier's thread too, to say that it is gone.
    gc.collect()
    start = threading.Thread.start

    def refuse(thread):
        if thread.name == "inmem-courier":
            raise RuntimeError("can't start new thread")
        start(thread)

    async def main():
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError, match="new thread"):
                await inmem.aio.open(tmp_path / "db", dispatcher=dispatcher)
        async with inmem.aio.open(tmp_path / "db", dispatcher=dispatcher) as db:
            assert await db.put("run", "k", 1) == 1

    asyncio.run(main())
