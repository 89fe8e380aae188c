"""`inmem verify --heads` and `--expect`: what an auditor keeps elsewhere, and finds with it."""

import json
import shutil

import pytest

import inmem


@pytest.fixture
def kept(run, tmp_path):
    """A database of two chains, and a file with their heads."""
    with inmem.open(tmp_path / "db") as db:
        db.begin_run("ada")
        db.events.append_many("ada", [("e", at) for at in range(5)])
        db.events.append("loose\n", "e", 1)
        db.begin_run("without events")
        heads = [db.events.head("ada").hash.hex(), db.events.head("loose\n").hash.hex()]
    printed = run("verify", tmp_path / "db", "--heads")
    assert (printed.exit_code, printed.stderr) == (0, "")
    assert [json.loads(line) for line in printed.stdout.splitlines()] == [
        {"run_id": "ada", "events": 5, "hash": heads[0]},
        {"run_id": "loose\n", "events": 1, "hash": heads[1]},
    ]
    (tmp_path / "heads").write_text(printed.stdout)
    return tmp_path / "db", tmp_path / "heads"


def test_what_is_as_it_was_and_what_has_grown_is_as_expected(run, run_json, kept):
    db, heads = kept
    same = run("verify", db, "--expect", heads)
    assert (same.exit_code, same.stderr) == (0, "")
    assert same.stdout.splitlines()[-1].split() == ["heads", "ok", "2", "heads", "compared"]

    with inmem.open(db) as opened:
        opened.events.append("ada", "e", 5)
        opened.events.append("new", "e", 5)
    grown = run("verify", db, "--expect", heads)
    assert grown.exit_code == 0
    assert grown.stdout.splitlines()[-1].endswith("2 heads compared, 1 of them with newer events")
    assert run_json("verify", db, "--expect", heads)["expected"] == {"heads": 2, "grown": 1, "broken": []}
    assert run("verify", db, "ada", "--expect", heads).stdout.endswith("1 head compared, with newer events\n")


@pytest.mark.parametrize(
    ("left", "fault"),
    [
        ([0, 1, 2], "has 3 of 5 expected events: its end was cut off"),
        ([], "the run is gone; 5 events expected"),
        ([0, 1, 2, 3, "forged"], "event 4 is not the expected one: it was rewritten"),
        ([0, 1, 2, 3, "forged", "more"], "event 4 is not the expected one: it was rewritten"),
    ],
)
def test_a_chain_that_was_cut_or_rewritten_is_named_though_it_is_valid(run, kept, left, fault):
    db, heads = kept
    with inmem.open(db) as opened:
        opened.runs.delete_run("ada")
        opened.events.append_many("ada", [("e", at) for at in left])
        assert opened.verify().is_valid

    found = run("verify", db, "--expect", heads)
    assert (found.exit_code, found.stderr) == (1, "")
    assert [line.split(maxsplit=1) for line in found.stdout.splitlines()[-2:]] == [
        ["heads", "damaged  2 heads compared"],
        ["'ada':", fault],
    ]
    as_json = json.loads(run("verify", db, "--expect", heads, "--json").stdout)
    assert as_json["is_valid"] is False
    [broken] = as_json["expected"]["broken"]
    assert (broken["run_id"], broken["events"], broken["error"]) == ("ada", 5, fault)

    # No heads are handed out that somebody might keep instead.
    both = run("verify", db, "--expect", heads, "--heads")
    assert (both.exit_code, both.stdout) == (1, "")
    assert fault in both.stderr


def test_the_chain_of_one_run(run, run_json, kept):
    db, heads = kept
    assert run("verify", db, "ada").stdout.split() == ["chains", "ok", "5", "events", "in", "1", "chain"]
    assert run("verify", db, "ada", "--heads").stdout == heads.read_text().splitlines(keepends=True)[0]
    assert run_json("verify", db, "ada", "--expect", heads)["expected"]["heads"] == 1
    assert run_json("verify", db, "ada", "--heads")["heads"][0]["events"] == 5

    none = run("verify", db, "without", "--expect", heads)
    assert (none.exit_code, none.stdout) == (1, "")
    assert none.stderr == "inmem: error: no saved head for run 'without events'\n"
    assert run("verify", db, "nobody").exit_code == 1


def test_of_what_is_damaged_there_are_no_heads(run, recorded, tmp_path):
    shutil.copytree(recorded, tmp_path / "db")
    (segment,) = (path for path in (tmp_path / "db").iterdir() if path.stat().st_size > 10_000)
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)

    told = run("verify", tmp_path / "db", "--heads")
    assert (told.exit_code, told.stdout) == (1, "")
    assert "damaged" in told.stderr


def test_a_single_event_is_told_of_as_one(run, kept):
    db, heads = kept
    with inmem.open(db) as opened:
        opened.begin_run("loose\n")
        opened.runs.delete_run("loose\n")
    found = run("verify", db, "--expect", heads)
    assert found.stdout.splitlines()[-1].endswith("the run is gone; 1 event expected")


HASH = "ab" * 32


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[]",
        '{"run_id": "ada", "events": 5}',
        f'{{"run_id": "ada", "events": true, "hash": "{HASH}"}}',
        f'{{"run_id": "ada", "events": 0, "hash": "{HASH}"}}',
        f'{{"run_id": "ada", "events": {2**63}, "hash": "{HASH}"}}',
        f'{{"run_id": "", "events": 1, "hash": "{HASH}"}}',
        f'{{"run_id": "ada", "events": 1, "hash": "{HASH}00"}}',
        f'{{"run_id": "ada", "events": 1, "hash": "{HASH}", "more": 1}}',
        '{"run_id": "ada", "events": 1, "hash": "xy"}',
        "[" * 100_000,
        "\ufffd",
    ],
)
def test_what_is_no_head_is_wrong_usage(run, kept, line):
    db, heads = kept
    heads.write_text(heads.read_text() + "\n" + line + "\n")
    refused = run("verify", db, "--expect", heads)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr == f"inmem: error: {heads}, line 4: not a chain head as printed by inmem verify --heads\n"


def test_a_file_without_a_head_proves_nothing(run, kept):
    db, heads = kept
    heads.write_text("\n")
    refused = run("verify", db, "--expect", heads)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr == f"inmem: error: {heads} contains no chain heads\n"
