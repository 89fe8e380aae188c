"""A web application that keeps its agents' runs in a store, written as one of its users would write it."""

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import pytest

import inmem
import inmem.aio

fastapi = pytest.importorskip("fastapi", reason="the group `web` brings it")
httpx = pytest.importorskip("httpx2", reason="the group `web` brings it")


def application(path: Any) -> Any:
    @asynccontextmanager
    async def lifespan(app: Any) -> Any:
        async with inmem.aio.open(path) as db:
            app.state.db = db
            yield

    app = fastapi.FastAPI(lifespan=lifespan)

    @app.post("/runs")
    async def start() -> dict[str, str]:
        return {"run": await app.state.db.begin_run()}

    @app.post("/runs/{run}/events")
    async def say(run: str, text: str) -> dict[str, int]:
        event = await app.state.db.events.append(run, "said", text)
        return {"sequence": event.sequence}

    @app.post("/runs/{run}/visits")
    async def visit(run: str) -> dict[str, int]:
        def count(txn: inmem.BaseTransaction) -> int:
            visits = (txn.kv.get("visits") or 0) + 1
            txn.kv.put("visits", visits)
            return visits

        return {"visits": await app.state.db.transaction(run, count, retry=inmem.RetryPolicy(1000))}

    @app.get("/runs/{run}/events")
    async def history(run: str) -> list[str]:
        return [event.payload async for event in app.state.db.events.iter(run)]

    return app


def test_hundreds_of_requests_at_once(tmp_path):
    app = application(tmp_path / "db")

    async def main():
        transport = httpx.ASGITransport(app=app)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://x") as web:
            run = (await web.post("/runs")).json()["run"]
            said = await asyncio.gather(*(web.post(f"/runs/{run}/events?text={n}") for n in range(200)))
            assert sorted(answer.json()["sequence"] for answer in said) == list(range(200))
            visits = await asyncio.gather(*(web.post(f"/runs/{run}/visits") for _ in range(50)))
            assert sorted(answer.json()["visits"] for answer in visits) == list(range(1, 51))
            heard = (await web.get(f"/runs/{run}/events")).json()
            assert sorted(heard, key=int) == [str(number) for number in range(200)]
        return run

    run = asyncio.run(main())
    # Once more, in another loop.
    other = asyncio.run(main())
    assert run != other
    with inmem.open(tmp_path / "db") as db:
        assert (db.get(run, "visits"), db.events.len(run)) == (50, 200)


def test_in_the_test_client(tmp_path):
    """Which runs the application in a loop of its own, in another thread."""
    testclient = pytest.importorskip("fastapi.testclient", reason="the group `web` brings it")
    for _ in range(2):
        with testclient.TestClient(application(tmp_path / "db")) as web:
            run = web.post("/runs").json()["run"]
            assert [web.post(f"/runs/{run}/visits").json()["visits"] for _ in range(3)] == [1, 2, 3]
