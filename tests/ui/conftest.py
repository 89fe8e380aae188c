"""Databases and explorers for the tests: an empty database in memory, and one with only hostile content."""

import pytest

import inmem
from inmem import Custom, Decision, ErrorTrace, Query, Thought, ToolCall

HOSTILE = (
    "<script>alert(1)</script>",
    "../x",
    "javascript:alert(1)",
    '"><img src=x onerror=alert(1)>',
    "a\u202eevil\u202c",
    "nul\x00byte",
    "'\"&amp;</a>",
    "%2e%2e%2f",
    "#?&=;+",
    " ",
    "{{ 7 * 7 }}",
    "שלום",
    "\ufeffline\nbreak\ttab\r",
    "x" * 255,
)
SCRIPT = HOSTILE[0]


def fill_with_hostile_content(db):
    """Fill a database with names and values that would do harm if they were shown as anything but text."""
    for name in HOSTILE:
        db.runs.create_run(name, tags=[name, "evil"], metadata={name: name})
    for name in HOSTILE:
        db.events.append(SCRIPT, name, {"text": name, name: [name, name.encode(), float("nan"), 2**63 - 1]})
        db.kv.put(SCRIPT, name, name)
        db.cells.set(SCRIPT, name, {name: name})
        db.kv.put(f"unregistered {name[:200]}", name, name)
        trace = db.traces.record_with_options(SCRIPT, ToolCall(name, {name: name}, name, 5.0), id=name, tags=[name])
        for kind in (
            Decision(name, [name, 1], name, name),
            Query(name, name, 3),
            Thought(name, 0.5),
            ErrorTrace(name, name),
            Custom(name, {name: name}),
        ):
            db.traces.record_with_options(SCRIPT, kind, parent_id=trace.id, metadata={name: name})
    db.kv.put(SCRIPT, "", "an empty name")
    db.kv.put(SCRIPT, "huge", "<b>huge</b>\n" * 100_000)
    db.kv.put(SCRIPT, "wide", ["<i>"] * 100_000)
    db.kv.put(SCRIPT, "bytes", b"<\x00\xff" * 10_000)
    db.events.append(SCRIPT, "huge", "<b>huge</b>" * 100_000)
    db.traces.record(SCRIPT, ToolCall("endless", None, None, float("inf")))
    db.runs.create_run("child", parent=SCRIPT)
    db.runs.fail_run(HOSTILE[3], SCRIPT + "\n\u202e" + "long " * 1000)


@pytest.fixture(scope="session")
def hostile_path(tmp_path_factory):
    """A database of hostile content. For reading only."""
    path = tmp_path_factory.mktemp("hostile") / "hostile.db"
    with inmem.open(path, durability="never") as db:
        fill_with_hostile_content(db)
    return path


@pytest.fixture
def db():
    with inmem.open(":memory:") as db:
        yield db


@pytest.fixture
def site(db):
    """An explorer of `db`."""
    from tests.ui.site import Site

    made = Site(db)
    yield made
    made.close()


@pytest.fixture(scope="module")
def hostile_site(hostile_path):
    """An explorer of the hostile database. Not for the session: other modules count the actors of the process."""
    from tests.ui.site import Site

    made = Site(hostile_path)
    yield made
    made.close()
