"""Recording files with several agents: all of it once, whatever fails or stops in between."""

import threading

import pykka
import pytest

import inmem
from inmem import DatabaseClosedError, UsageError
from inmem.recorder import read_conversations, record_files
from inmem.recorder.agent import Agent
from inmem.recorder.dispenser import Dispenser
from inmem.recorder.steps import begin_recording
from tests.actors.stage import FAILSAFE_S
from tests.recorder.transcripts import OWN, expect_recorded, user, write_runs


@pytest.fixture(autouse=True)
def no_actor_is_left_behind():
    yield
    assert pykka.ActorRegistry.get_all() == []


@pytest.fixture
def own():
    return [conversation for path in OWN for conversation in read_conversations(path)]


@pytest.mark.parametrize("agents", [1, 3, 20])
@pytest.mark.parametrize("dispatcher", ["caller", "threads"])
def test_every_conversation_is_recorded(own, agents, dispatcher):
    with inmem.open(":memory:", dispatcher=dispatcher) as db:
        summary = record_files(db, OWN, agents=agents)

        expect_recorded(db, own)
    assert (summary.runs, summary.messages, summary.tool_calls) == (7, 90, 31)
    assert (summary.already_recorded, summary.errors) == (0, ())


def test_what_is_recorded_is_left_alone(own, tmp_path):
    with inmem.open(tmp_path / "db") as db:
        record_files(db, OWN[:2])
    with inmem.open(tmp_path / "db") as db:
        summary = record_files(db, OWN)
        version = db.version
        again = record_files(db, OWN)

        assert db.version == version
        expect_recorded(db, own)
    assert (summary.messages, summary.already_recorded) == (90, 52)
    assert (again.runs, again.messages, again.tool_calls, again.already_recorded) == (7, 90, 31, 90)


def test_progress_adds_up(own):
    seen = []
    with inmem.open(":memory:") as db:
        record_files(db, OWN, on_progress=seen.append)

    assert [progress.recorded for progress in seen] == sorted(progress.recorded for progress in seen)
    assert (seen[-1].runs, seen[-1].recorded, seen[-1].tool_calls) == (7, 90, 31)
    assert seen[-1].size_bytes == pytest.approx(sum(conversation.size_bytes for conversation in own))


def test_a_store_that_closes_in_the_middle_stops_the_recording(own, tmp_path):
    db = inmem.open(tmp_path / "db")
    some = threading.Event()

    def close_soon(progress):
        if progress.recorded:
            some.set()

    closer = threading.Thread(target=lambda: (some.wait(), db.close()))
    closer.start()
    stopped = record_files(db, OWN, agents=2, pace_s=0.005, on_progress=close_soon)
    closer.join()

    assert any("the database is closed" in error for error in stopped.errors)
    assert 0 < stopped.messages < 90
    with inmem.open(tmp_path / "db") as db:
        finished = record_files(db, OWN)
        expect_recorded(db, own)
    assert finished.already_recorded == stopped.messages
    assert finished.errors == ()


def test_an_agent_that_fails_reports_it_and_the_others_go_on(own):
    with inmem.open(":memory:") as db:
        db.runs.create_run(own[3].run_id)
        db.transaction(own[4].run_id, lambda txn: begin_recording(txn, own[4]))
        db.runs.pause_run(own[4].run_id)

        summary = record_files(db, OWN, agents=2)

        assert sorted(summary.errors) == [
            f"{own[3].run_id}: a run of this name exists, and is not a recording",
            f"{own[4].run_id}: the run is Paused at message 0 of 18",
        ]
        assert summary.runs == 5
        db.runs.resume_run(own[4].run_id)
        db.runs.delete_run(own[3].run_id)
        assert record_files(db, OWN).errors == ()
        expect_recorded(db, own)


def test_a_malformed_file_does_not_keep_the_others_out(own, tmp_path):
    path = write_runs(tmp_path / "bad.json", [user("fine")], [{"role": "cook"}], [user("never reached")])
    first = next(read_conversations(path))
    with inmem.open(":memory:") as db:
        summary = record_files(db, [path, tmp_path / "missing.json", *OWN])

        expect_recorded(db, [first, *own])
    assert list(summary.errors) == [
        f'{path}: item 1, messages[0]: "role" must be one of system, developer, user, assistant, tool, not "cook"',
        f"{tmp_path / 'missing.json'}: cannot be read: No such file or directory",
    ]


def test_a_file_given_twice_is_recorded_once(own):
    with inmem.open(":memory:") as db:
        summary = record_files(db, [*OWN, *OWN], agents=8)

        expect_recorded(db, own)
    assert (summary.messages, summary.already_recorded, summary.errors) == (90, 0, ())


@pytest.mark.parametrize("options", [{"agents": 0}, {"pace_s": -1.0}, {"pace_s": float("nan")}])
def test_options_out_of_range(options):
    with inmem.open(":memory:") as db, pytest.raises(UsageError):
        record_files(db, OWN, **options)


def test_somebody_who_stops_all_actors_stops_the_recording():
    with inmem.open(":memory:") as db, pytest.raises(DatabaseClosedError):
        record_files(db, OWN, pace_s=0.001, on_progress=lambda _: stop_dispenser())


def stop_dispenser():
    for ref in pykka.ActorRegistry.get_by_class(Dispenser):
        ref.stop(block=False)


def test_a_failure_of_the_dispenser_reaches_whoever_waits(caplog):
    def fail(_progress):
        raise ZeroDivisionError

    with inmem.open(":memory:") as db, pytest.raises(ZeroDivisionError):
        record_files(db, OWN, on_progress=fail)
    assert "ZeroDivisionError" in caplog.text


def test_agents_that_are_there_stop_where_another_cannot_be_started(monkeypatch):
    """They went on, each in its thread, after the recording had ended in the exception."""
    start, team = Agent.start, []

    def start_two(db, dispenser, pace_s):
        if len(team) == 2:
            raise RuntimeError("can't start new thread")
        team.append(start(db, dispenser, pace_s))
        dispensers.add(dispenser)
        return team[-1]

    dispensers = set()
    monkeypatch.setattr(Agent, "start", start_two)
    with inmem.open(":memory:") as db:
        with pytest.raises(RuntimeError, match="new thread"):
            record_files(db, OWN, agents=4)
        assert [agent.is_alive() for agent in team] == [False, False]
        [dispenser] = dispensers
        # It may be reading from a pipe, so it is told to stop, and not waited for.
        assert dispenser.actor_stopped.wait(FAILSAFE_S)


def test_an_agent_without_a_conversation_ignores_what_it_is_told():
    with inmem.open(":memory:") as db:
        dispenser = Dispenser.start([], 1, pykka.ThreadingFuture())
        agent = Agent.start(db, dispenser)
        agent.ask("hello")
        with pytest.raises(TypeError):
            dispenser.ask("hello")
        agent.stop()
        dispenser.stop()
