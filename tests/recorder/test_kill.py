"""Real processes, really killed: what was recorded stays, and the next process goes on from there."""

import random

import inmem
from inmem.demo.recording_process import RecordingProcess, recorded_in
from inmem.recorder import read_conversations
from tests.recorder.transcripts import OWN, expect_recorded, real_transcripts

SECONDS_PER_STEP = 0.2
"""Of each agent: after the last look that is waited for, the recording takes seconds, and so may whoever looks."""


def kill_after(files, database, message_counts, *, agents, pace_s):
    """Record, and kill the process when so many messages have been seen, each time anew."""
    for message_count in message_counts:
        with RecordingProcess(files, database, agents=agents, pace_s=pace_s) as process:
            seen = process.watch_until(lambda recorded, enough=message_count: recorded.total >= enough)
            process.kill()
        # A read-only look first: nobody has cleaned up behind the dead process.
        with inmem.open(database, create=False, read_only=True) as db:
            found = recorded_in(db)
            assert db.verify().is_valid
        assert all(found.messages[run_id] >= messages for run_id, messages in seen.messages.items())
    with RecordingProcess(files, database, agents=agents, pace_s=0) as process:
        return process.finish()


def test_a_recording_survives_being_killed(tmp_path):
    summary = kill_after(OWN, tmp_path / "db", (1, 20, 50), agents=4, pace_s=SECONDS_PER_STEP)

    assert (summary["runs"], summary["messages"], summary["tool_calls"]) == (7, 90, 31)
    assert 50 <= summary["already_recorded"] <= 90
    assert summary["errors"] == []
    with inmem.open(tmp_path / "db") as db:
        expect_recorded(db, [conversation for path in OWN for conversation in read_conversations(path)])


def test_real_transcripts_killed_at_random_moments(tmp_path):
    files = real_transcripts()
    source = [conversation for path in files for conversation in read_conversations(path)]
    messages = sum(len(conversation.messages) for conversation in source)
    calls = sum(conversation.call_count for conversation in source)
    # The moments may differ from run to run: any of them must do.
    moments = sorted(random.sample(range(1, messages * 2 // 3), 4))

    summary = kill_after(files, tmp_path / "db", moments, agents=8, pace_s=SECONDS_PER_STEP / 5)

    assert (summary["runs"], summary["messages"], summary["tool_calls"]) == (len(source), messages, calls), moments
    with inmem.open(tmp_path / "db") as db:
        expect_recorded(db, source)
