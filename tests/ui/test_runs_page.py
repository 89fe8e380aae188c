import threading

import pytest

pytest.importorskip("starlette", reason="the explorer is an extra")
pytest.importorskip("httpx2", reason="starlette's test client needs it")

import inmem
from inmem.ui.runs_page import PAGE_ROWS, SEARCH_ROWS_MAX


def register(db, count, **more):
    with db.begin("r") as txn:
        for at in range(count):
            txn.runs.create_run(f"run-{at:04}", **more)
    return [f"run-{at:04}" for at in range(count)]


def test_an_empty_store_says_how_to_begin(site):
    assert "No runs yet" in site.get("").text


def test_pages_follow_each_other_newest_first_and_back_again(db, site):
    names = register(db, 2 * PAGE_ROWS + 7)[::-1]
    pages = site.follow("runs")
    assert pages == [names[:PAGE_ROWS], names[PAGE_ROWS : 2 * PAGE_ROWS], names[2 * PAGE_ROWS :]]

    last = site.get("runs", after=names[2 * PAGE_ROWS - 1])
    back = site.get("runs", before=last.rows[0])
    assert back.rows == pages[1]
    assert site.get("runs", before=back.rows[0]).rows == pages[0]
    assert site.follow("runs", order="oldest") == [
        names[::-1][at : at + PAGE_ROWS] for at in range(0, len(names), PAGE_ROWS)
    ]


def test_runs_that_come_meanwhile_do_not_move_the_pages(db, site):
    names = register(db, PAGE_ROWS + 3)[::-1]
    second = [link for link in site.get("runs").links if "after=" in link]
    db.begin_run("later")
    assert site.get(second[0]).rows == names[PAGE_ROWS:]


def test_a_page_that_began_at_a_deleted_run_begins_anew(db, site):
    names = register(db, 3)
    db.runs.delete_run(names[1])
    answer = site.answer("runs", after=names[1], status="Active", tag=["a", "b"])
    assert answer.history[0].status_code == 303
    assert answer.url.query == b"status=Active&tag=a&tag=b"


def test_filters_are_those_of_the_index(db, site):
    db.runs.create_run("parent", tags=["a"])
    db.runs.create_run("one", tags=["a", "b"], parent="parent")
    db.runs.create_run("two", tags=["b"])
    db.runs.fail_run("two", "went wrong")
    db.runs.archive_run("parent")
    assert site.get("runs").rows == ["two", "one"]
    assert site.get("runs", status="All").rows == ["two", "one", "parent"]
    assert site.get("runs", status="Archived").rows == ["parent"]
    assert site.get("runs", status="Failed").rows == ["two"]
    assert site.get("runs", tag=["a", "b"]).rows == ["one"]
    assert site.get("runs", parent="parent").rows == ["one"]
    assert "No runs match." in site.get("runs", status="Paused").text
    assert site.answer("runs", status="<b>").status_code == 400


def test_a_tag_may_be_empty(db, site):
    db.runs.create_run("empty", tags=["", "x"])
    db.runs.create_run("other", tags=["x"])
    [link] = [link for link in site.get("runs").links if link == "runs?tag="]
    assert site.get(link).rows == ["empty"]
    assert site.get("runs", tag=["", "x"]).rows == ["empty"]


def test_a_search_looks_into_names_tags_and_errors(db, site):
    db.runs.create_run("Booking-1", tags=["Travel"])
    db.runs.create_run("other")
    db.runs.fail_run("other", "no FLIGHT was found")
    assert site.get("runs", q="booking").rows == ["Booking-1"]
    assert site.get("runs", q="TRAVEL").rows == ["Booking-1"]
    assert site.get("runs", q="flight").rows == ["other"]
    assert site.get("runs", q="o", status="Failed").rows == ["other"]
    assert site.get("runs", q="nothing like that").rows == []


def test_a_search_reads_so_many_runs_and_then_says_how_to_search_on(db, site):
    register(db, SEARCH_ROWS_MAX + 300)
    shown = site.get("runs", q="run-0007")
    assert shown.rows == []
    assert "Search on" in shown.text
    assert site.follow("runs", q="run-0007") == [[], ["run-0007"]]
    assert len(site.get("runs", q="run-").rows) == PAGE_ROWS
    assert site.all_rows("runs", q="run-1") == [f"run-{at:04}" for at in range(SEARCH_ROWS_MAX + 299, 999, -1)]


def test_a_run_of_exactly_that_name_is_offered_registered_or_not(db, site):
    db.kv.put("somewhere", "k", 1)
    shown = site.get("runs", q="somewhere")
    assert "A run of exactly this name" in shown.text
    assert "events?run=somewhere" in shown.links
    assert "exactly" not in site.get("runs", q="nowhere").text
    assert "exactly" not in site.get("runs", q="x" * 900).text


def test_unregistered_runs_are_found_in_the_background(db, site):
    for at in range(PAGE_ROWS + 5):
        db.kv.put(f"loose-{at:03}", "k", at)
    db.begin_run("registered")
    db.kv.put("gone", "k", 1)
    db.runs.create_run("gone")
    db.runs.delete_run("gone")
    db.kv.put("emptied", "k", 1)
    db.kv.delete("emptied", "k")
    expected = [f"loose-{at:03}" for at in range(PAGE_ROWS + 5)]
    assert db.unregistered_runs() == expected

    first = site.done("unregistered")
    assert first.rows == expected[:PAGE_ROWS]
    assert site.all_rows("unregistered") == expected
    # What was found stays until somebody asks again.
    db.kv.put("loose-more", "k", 1)
    assert "loose-more" not in site.all_rows("unregistered", past=1)
    assert "loose-more" in site.done("unregistered", after="loose-05").rows


def test_two_who_wait_for_the_unregistered_runs_do_not_keep_each_other_waiting(db, site):
    let_go = threading.Event()
    looks = []

    def slow():
        looks.append(let_go.wait(60))
        return ["loose"]

    db.unregistered_runs = slow
    waiting = []
    for at in range(2):
        db.kv.put("loose", "k", at)
        waiting.append(site.get("unregistered").by_id["found"]["data-job"])
    let_go.set()
    for address in waiting:
        assert site.done(address).rows == ["loose"]
    for address in waiting * 2:
        assert site.get(address).rows == ["loose"]
    assert looks == [True]


def test_what_came_to_nothing_is_tried_again(db, site):
    found = db.unregistered_runs
    outcomes = [inmem.StorageError("the disk was away"), None, None]

    def fails_once():
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome
        return found()

    db.unregistered_runs = fails_once
    db.kv.put("loose", "k", 1)
    site.get("unregistered")
    failed = site.done("unregistered", past=1)
    assert "the disk was away" in failed.text
    assert len(outcomes) == 2
    [again] = [link for link in failed.links if link.startswith("unregistered?")]
    site.get(again)
    assert site.done("unregistered", past=1).rows == ["loose"]
    assert len(outcomes) == 1
