import ast
import math
import tracemalloc

import pytest

pytest.importorskip("starlette", reason="the explorer is an extra")
pytest.importorskip("httpx2", reason="starlette's test client needs it")

from msgspec.structs import replace
from starlette.requests import Request

import inmem
from inmem import Decision, ErrorTrace, Thought, ToolCall
from inmem.actors.proxies.events import EventLog
from inmem.engine.keys import Tag, event_key
from inmem.engine.packing import pack
from inmem.engine.tables.persistent_map import persistent
from inmem.engine.tables.snapshot import Snapshot
from inmem.primitives.event_record import unpack_event
from inmem.ui import state_page
from inmem.ui.desk import Desk, Look
from inmem.ui.events_page import PAGE_ROWS as EVENT_ROWS
from inmem.ui.key_history import history_of
from inmem.ui.state_page import PAGE_ROWS as STATE_ROWS
from inmem.ui.traces_page import PAGE_ROWS as TRACE_ROWS
from inmem.ui.values import pretty
from tests.ui.conftest import HOSTILE, SCRIPT
from tests.ui.site import Page, Site


@pytest.mark.parametrize("page", ["events", "traces", "state", "about", "chain"])
def test_every_page_of_a_run_names_it_and_how_it_stands(db, site, page):
    db.runs.create_run("parent")
    db.runs.create_run("run/7", parent="parent", tags=["nightly"])
    db.runs.fail_run("run/7", "no answer")
    shown = site.get(page, run="run/7")
    for part in ("run/7", "Failed", "nightly", "no answer", "parent"):
        assert part in shown.text, part
    assert "parent</bdi></a></p>" in shown.html, "nothing follows the last of the crumbs"
    db.kv.put("loose", "k", 1)
    assert "unregistered" in site.get(page, run="loose").text


@pytest.mark.parametrize("page", ["events", "traces", "state", "about", "chain", "event", "trace", "entry", "value"])
def test_what_is_not_there_is_said_so(db, site, page):
    query = {"seq": 5, "id": "x", "kind": "key", "name": "x", "key": "x"}
    assert site.answer(page, run="nowhere", **query).status_code == 404
    db.begin_run("run")
    if page in ("event", "trace", "value"):
        assert site.answer(page, run="run", **query).status_code == 404
    assert site.answer(page).status_code == 400
    assert site.answer(page, run="").status_code == 400
    assert site.answer(page, run="x" * 256).status_code == 400


@pytest.mark.parametrize(
    ("page", "query", "said"),
    [
        ("value", {"key": "nope"}, "run 'abc' has no such value"),
        ("value", {"key": "k", "at": 1}, "the log does not hold a value that key 'k' was given at version 1"),
        ("value", {"cell": "k", "at": 1}, "the log does not hold a value that cell 'k' was given at version 1"),
        ("event", {"seq": 5}, "run 'abc' has no event 5"),
        ("trace", {"id": "x"}, "there is no trace 'x' in run 'abc'"),
    ],
)
def test_what_is_not_there_is_called_what_it_is(db, site, page, query, said):
    db.begin_run("abc")
    answer = site.answer(page, run="abc", **query)
    assert answer.status_code == 404
    assert said in Page(answer.text).text
    assert "there is no entry" not in answer.text


@pytest.mark.parametrize("number", ["-1", "1.5", "x", "٣", "9223372036854775808", "1" * 400])
def test_what_is_no_number_is_not_understood(db, site, number):
    db.begin_run("run")
    assert site.answer("events", run="run", **{"from": number}).status_code == 400


def test_a_closed_database_is_said_to_be_closed(db, site):
    db.close()
    assert site.answer("runs").status_code == 503
    assert site.answer("version").status_code == 503


def test_a_timeline_has_pages_and_ends(db, site):
    db.events.append_many("run", [("tool" if at % 2 else "user", {"n": at}) for at in range(2 * EVENT_ROWS + 1)])
    names = [str(at) for at in range(2 * EVENT_ROWS + 1)]
    assert site.follow("events", run="run") == [names[:EVENT_ROWS], names[EVENT_ROWS:-1], names[-1:]]
    assert site.get("events", run="run", **{"from": 350}).rows == names[350:]
    assert site.get("events", run="run", **{"from": "end"}).rows == names[-EVENT_ROWS:]
    assert site.get("events", run="run", **{"from": 9999}).rows == []
    assert site.all_rows("events", run="run", type="tool") == names[1::2]
    assert site.get("events", run="run", type="tool", **{"from": 301}).rows == names[301::2]
    assert site.get("events", run="run", type="no such").rows == []
    # Where the next ones will be: behind the last row, so that a page can follow.
    tail = site.get("events", run="run", **{"from": "end"}).by_id["rows"]["data-tail"]
    db.events.append("run", "user", "more")
    assert site.get(tail).rows == [str(2 * EVENT_ROWS + 1)]


def test_an_event_is_shown_with_all_that_it_is(db, site):
    event = db.events.append("run", "tool_error", {"text": "a\nb", "big": 2**63 - 1, "nan": math.nan, "raw": b"\x00"})
    text = site.get("event", run="run", seq=0).text
    for part in (
        event.hash.hex(),
        event.prev_hash.hex(),
        "a\nb",
        "9223372036854775807",
        '{"$float": "nan"}',
        '{"$bytes": "AA=="}',
        "tool_error",
    ):
        assert part in text, part
    assert 'class="row error"' in site.get("events", run="run").html
    part = site.get("event", run="run", seq=0, part=1)
    assert event.hash.hex() in part.text
    assert "<html" not in part.html


def test_traces_are_a_tree_with_durations_outcomes_and_errors(db, site):
    call = db.traces.record("run", ToolCall("weather", {"city": "Bremen"}, "rain", 1500))
    choice = db.traces.record_child("run", call.id, Decision("umbrella?", ["yes", "no"], "yes"))
    boom = db.traces.record_child("run", choice.id, ErrorTrace("Timeout", "no answer"))
    later = db.traces.record_with_options("run", Thought("done\nnow"), tags=["end"])
    open_call = db.traces.record("run", ToolCall("asked", {}))
    shown = site.get("traces", run="run")
    assert shown.rows == [call.id, choice.id, boom.id, later.id, open_call.id]
    assert [depth for depth in ("0", "1", "2") if f'data-depth="{depth}"' in shown.html] == ["0", "1", "2"]
    for part in ("weather", "Bremen", "rain", "1.50 s", "umbrella?", "Timeout", "not recoverable", "done now"):
        assert part in shown.text, part
    assert shown.html.count('class="fold"') == 2
    assert shown.html.count('class="outcome"') == 3, "a call without a result, or with none yet, has no outcome"
    assert site.get("traces", run="run", type="Error").rows == [boom.id]
    assert site.get("traces", run="run", tag="end").rows == [later.id]
    assert site.answer("traces", run="run", type="Nothing").status_code == 400
    assert site.answer("traces", run="run", type="Error", after="gone").status_code == 404
    detail = site.get("trace", run="run", id=choice.id).text
    for part in ("umbrella?", "yes", "no", choice.id, call.id):
        assert part in detail, part


def test_long_trees_and_lists_of_traces_have_pages(db, site):
    with db.begin("run") as txn:
        parent = txn.traces.record(Thought("root"))
        ids = [parent.id, *[txn.traces.record_child(parent.id, Thought(str(at))).id for at in range(2 * TRACE_ROWS)]]
    assert site.all_rows("traces", run="run") == ids
    assert site.all_rows("traces", run="run", type="Thought") == ids


def test_a_trace_id_and_a_tag_may_be_empty(db, site):
    ids = [f"id-{at:03}" for at in range(TRACE_ROWS + 5)]
    ids[TRACE_ROWS - 1] = ""
    with db.begin("run") as txn:
        for trace_id in ids:
            txn.traces.record_with_options(Thought(trace_id), id=trace_id, tags=["" if trace_id < "id-002" else "x"])
    assert site.follow("traces", run="run") == [ids[:TRACE_ROWS], ids[TRACE_ROWS:]]
    # A list by type or tag is ordered by time; the traces of one transaction share theirs.
    assert site.all_rows("traces", run="run", type="Thought") == [
        trace.id for trace in db.traces.query_by_type("run", "Thought")
    ]
    [tagged] = [link for link in site.get("trace", run="run", id="").links if "tag=" in link]
    assert sorted(site.get(tagged).rows) == ["", "id-000", "id-001"]


def test_cells_and_keys_have_pages_of_their_own(db, site):
    with db.begin("run") as txn:
        for at in range(STATE_ROWS + 5):
            txn.kv.put(f"key-{at:03}", at)
            txn.cells.set(f"cell-{at:03}", at)
    keys = [f"key-{at:03}" for at in range(STATE_ROWS + 5)]
    cells = [f"cell-{at:03}" for at in range(STATE_ROWS + 5)]
    assert site.get("state", run="run").rows == cells[:STATE_ROWS] + keys[:STATE_ROWS]
    assert site.get("state", run="run", cells=cells[STATE_ROWS - 1]).rows == cells[STATE_ROWS:] + keys[:STATE_ROWS]
    assert site.get("state", run="run", keys=keys[STATE_ROWS - 1]).rows == cells[:STATE_ROWS] + keys[STATE_ROWS:]
    assert site.get("state", run="run", prefix="key-00").rows == keys[:10]


def test_a_key_shows_version_deadline_and_value(db, site):
    version = db.put("run", "k", {"a": [1]}, ttl=3600)
    shown = site.get("entry", run="run", kind="key", name="k")
    assert f"Version{version}" in shown.text.replace("\n", "").replace(" ", "")
    assert "Expires" in shown.text
    assert "keeps no log" in shown.text
    db.put("run", "far", 1, ttl=9e12)
    assert "µs" in site.get("state", run="run", prefix="far").text
    assert site.answer("entry", run="run", kind="nothing", name="k").status_code == 400


def test_the_past_of_a_cell_and_a_key_is_read_from_the_log(tmp_path):
    with inmem.open(tmp_path / "db", durability="never") as db:
        db.begin_run("run")
        for value in ("first", "second"):
            db.cells.set("run", "phase", value)
            db.put("run", "k", value)
        db.cells.delete("run", "phase")
        db.delete("run", "k")
        site = Site(db)
        for kind, name in (("cell", "phase"), ("key", "k")):
            assert f"no {kind} of this name now" in site.get("entry", run="run", kind=kind, name="never").text
            assert f"kind={kind}" in " ".join(site.get("state", run="run", prefix=name).links)
            db.put("run", "other", kind)
            shown = site.done("entry", run="run", kind=kind, name=name, history=db.version)
            assert shown.text.index("deleted") < shown.text.index("second") < shown.text.index("first")
            assert f"no {kind} of this name now" in shown.text
        large = "x" * 50_000
        db.put("run", "large", large)
        version = db.version
        db.put("run", "large", "small")
        shown = site.done("entry", run="run", kind="key", name="large", history=db.version)
        [whole] = [link for link in shown.links if link.startswith("value?")]
        assert ast.literal_eval(site.answer(whole).text) == large
        assert site.answer("value", run="run", key="large", at=version + 1).text == '"small"'
        never = site.answer("value", run="run", key="large", at=1)
        assert never.status_code == 404
        assert "the log does not hold a value that key &#39;large&#39; was given at version 1" in never.text
        # What a checkpoint has swallowed is gone, and that is said.
        db.checkpoint()
        shown = site.done("entry", run="run", kind="key", name="large", history=db.version + 1)
        assert "kept since version" in shown.text
        assert site.answer(whole).status_code == 404
        site.close()


def test_a_history_holds_no_values(tmp_path):
    sizes = (10, 100_000, 1_000_000)
    with inmem.open(tmp_path / "db", durability="never") as db:
        for size in sizes * 3:
            db.put("run", "k", "x" * size)
            db.cells.set("run", "k", ["x" * size])
        site = Site(db)
        for kind, value in (("key", "x" * sizes[-1]), ("cell", ["x" * sizes[-1]])):
            tracemalloc.start()
            shown = site.done("entry", run="run", kind=kind, name="k", history=db.version)
            held, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert held < sizes[-1]
            whole = [link for link in shown.links if link.startswith("value?") and "at=" in link]
            assert len(whole) == 6
            assert ast.literal_eval(site.answer(whole[0]).text) == value
        # What a commit has done is read from the log, whoever has asked for a history.
        site.jobs._jobs.clear()
        assert ast.literal_eval(site.answer(whole[0]).text) == value
        site.close()


def test_a_chain_is_verified_when_asked_and_a_broken_one_is_named(db, site):
    db.events.append_many("run", [("e", at) for at in range(5)])
    assert "not verified" in site.get("events", run="run").text
    assert "intact, 5 events" in site.done("chain", run="run", go=5).text
    db.events.append("run", "e", 5)
    shown = site.get("events", run="run")
    assert "Verify 1 more" in shown.text
    _tamper(db, "run", 3)
    again = site.done("chain", run="run", go=6)
    assert "broken at event 3" in again.text
    assert "event?run=run&seq=3" in again.links


def test_a_chain_that_could_not_be_read_is_verified_again(db, site, monkeypatch):
    db.events.append("run", "e", 1)
    verify_chain = EventLog.verify_chain
    verified = []

    def fails_once(self, *arguments):
        verified.append(True)
        if len(verified) == 1:
            raise inmem.StorageError("the disk was away")
        return verify_chain(self, *arguments)

    monkeypatch.setattr(EventLog, "verify_chain", fails_once)
    site.get("chain", run="run", go=1)
    failed = site.done("chain", run="run")
    assert "the disk was away" in failed.text
    [again] = [link for link in failed.links if "go=" in link]
    site.get(again)
    assert "intact, 1 event" in site.done("chain", run="run").text


def test_a_history_that_could_not_be_read_is_read_again(tmp_path, monkeypatch):
    outcomes = [inmem.StorageError("the disk was away")]

    def fails_once(*arguments):
        if outcomes:
            raise outcomes.pop()
        return history_of(*arguments)

    monkeypatch.setattr(state_page, "history_of", fails_once)
    with inmem.open(tmp_path / "db", durability="never") as db:
        db.put("run", "k", "first")
        site = Site(db)
        site.get("entry", run="run", kind="key", name="k", history=db.version)
        failed = site.done("entry", run="run", kind="key", name="k", past=1)
        assert "the disk was away" in failed.text
        [again] = [link for link in failed.links if "history=" in link]
        site.get(again)
        assert "As of version 1" in site.done("entry", run="run", kind="key", name="k", past=1).text
        site.close()


def _tamper(db, run, sequence):
    published = db._client.directory.published
    snapshot = published.snapshot
    table = snapshot.table(run, Tag.EVENT)
    record = unpack_event(table.get(event_key(sequence))[1])
    record = replace(record, timestamp=record.timestamp + 1)
    forged = table.apply([(event_key(sequence), pack(record), 0)], table.last_version)
    tables = snapshot.roots[0].as_dict() | {(run, Tag.EVENT): forged}
    published.snapshot = Snapshot(snapshot.version, (persistent(tables),))


def test_about_shows_metadata_children_and_head(db, site):
    db.runs.create_run("run", metadata={"model": "m-1", "raw": b"\xff"})
    for at in range(25):
        db.runs.create_run(f"child-{at:02}", parent="run")
    head = db.events.append("run", "e", 1)
    shown = site.get("about", run="run")
    assert "m-1" in shown.text
    assert head.hash.hex() in shown.text
    assert shown.rows == [f"child-{at:02}" for at in range(20)]
    [all_children] = [link for link in shown.links if link.startswith("runs?parent=")]
    assert site.get(all_children).rows == [f"child-{at:02}" for at in range(25)]


def test_all_of_a_value_is_one_link_away(hostile_site):
    shown = hostile_site.get("entry", run=SCRIPT, kind="key", name="huge")
    assert len(shown.html) < 200_000
    [whole] = [link for link in shown.links if link.startswith("value?")]
    answer = hostile_site.answer(whole)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert ast.literal_eval(answer.text) == "<b>huge</b>\n" * 100_000
    for name in HOSTILE:
        assert ast.literal_eval(hostile_site.answer("value", run=SCRIPT, key=name).text) == name
        assert ast.literal_eval(hostile_site.answer("value", run=SCRIPT, cell=name).text) == {name: name}
        assert ast.literal_eval(hostile_site.answer("value", run=SCRIPT, trace=name, field="result").text) == name
        assert ast.literal_eval(hostile_site.answer("value", run=name).text) == {name: name}
    assert hostile_site.answer("value", run=SCRIPT, trace=HOSTILE[0], field="__class__").status_code == 404


def test_hostile_content_stays_text_wherever_it_is_shown(hostile_site):
    """Every link of every page, from the first one on, leads to a page of nothing but our own markup."""
    waiting, seen, texts = ["runs?", "unregistered?"], set(), ""
    while waiting:
        link = waiting.pop()
        # One of each kind of page for each thing: what is left out differs in its filters alone.
        if link in seen or link.count("tag=") > 1 or ("runs?" in link and link.count("&") > 1):
            continue
        seen.add(link)
        answer = hostile_site.answer(link)
        assert answer.status_code == 200, link
        if answer.headers["content-type"].startswith("text/html"):
            page = Page(answer.text)
            texts += page.text
            waiting += page.links
    assert len(seen) > 150
    for name in HOSTILE[:4]:
        assert name in texts
    for escaped in (r"a\u202eevil\u202c", r"nul\x00byte", "{{ 7 * 7 }}", "שלום"):
        assert escaped in texts


def test_a_page_states_the_version_that_it_shows_whatever_comes_meanwhile(db, site):
    version = db.put("run", "k", 1)
    desk = Desk(site.source, site.jobs)
    look = Look(desk, Request({"type": "http", "method": "GET", "headers": [], "query_string": b""}))
    with look.snapshot("run"):
        db.put("run", "k", 2)
    assert f'data-version="{version}"' in look.render("base.html").body.decode()


def test_a_history_is_read_while_a_checkpoint_takes_its_segments_away(tmp_path):
    with inmem.open(tmp_path / "db") as db:
        for number in range(3):
            db.put("run", "k", number)

        def progress(_done, _total):
            db.put("run", "k", "later")
            db.checkpoint()

        found = history_of(str(tmp_path / "db"), "run", "key", "k", progress)
    # What was committed meanwhile may show or not.
    assert [past.html for past in found.changes if "later" not in past.html] == [pretty(at)[0] for at in (2, 1, 0)]
    assert not (tmp_path / "db" / "000000000001.wal").exists()
