"""A hundred runs with hostile ids, used by eight threads at once through all five primitives: each is alone."""

import random

import pytest

import inmem
from inmem import Custom, RetryPolicy, RunStatus, ToolCall
from tests.actors.stage import in_threads
from tests.integration.five import Content, Registered, Step, everything, expect_everywhere, tables_of

THREADS = 8

PATIENT = RetryPolicy(max_retries=1000)
"""How often a thread loses depends on the machine; here it must only win in the end."""

STEMS = [
    "a",
    "ab",
    "a\x00\x00",
    "a\x00\xff",
    "\xff",
    "\x00",
    "\uffff",
    "\U0001f600",
    "e\u0301",
    "__idx__",
    "../x",
    "/etc/passwd",
    "run\n",
    " ",
    "LOCK",
    "%00",
    "\u202e",
    "0",
    "None",
    "x" * 253,
]
"""What has ever been taken for a separator, a prefix, a path, a file or an index entry, and what begins alike."""

RUNS = [stem + suffix for stem in STEMS for suffix in ("", "\x00", "/", "__", "\U0001f600")]

NAMES = ["", "a", "a\x00", "a__b", "__idx__", "../x", "\U0001f600", "k" * 1024, "ab", "\uffff", "\x00"]
"""Names within each run. Every run uses the same, as a leak is to be seen."""

STEPS = 5


def step(txn, number, at):
    """One of the steps in which a run comes to be; they may come in any order, from any thread."""
    run = txn.run_id
    name = NAMES[(number + at) % len(NAMES)]
    txn.kv.put(name, [run, at])
    txn.kv.put(f"step {at}", at)
    txn.events.append(name or "-", [run, at])
    txn.cells.transition_or_init("steps", 0, lambda state: (state.value + 1, None))
    txn.traces.record_with_options(Custom(name, run), id=f"{at}{name[:500]}", tags=(name, f"of {run}"))
    if txn.runs.get_run(run) is None:
        txn.runs.create_run(run, parent=RUNS[number - 1] if is_registered(txn, number - 1) else None, tags=(name,))
    else:
        txn.runs.add_tags(run, (name,))
    txn.runs.update_metadata(run, {str(at): run})


def is_registered(txn, number):
    return number >= 0 and txn.runs.get_run(RUNS[number]) is not None


def content_of(db, number):
    """Return what a run must hold, with what depends on the order of its steps taken from its own events."""
    run = RUNS[number]
    order = [event.payload[1] for event in db.events.iter(run)]
    assert sorted(order) == list(range(STEPS))
    known = db.runs.get_run(run)
    assert known.parent_run in (None, RUNS[number - 1])
    names = [NAMES[(number + at) % len(NAMES)] for at in range(STEPS)]
    return Content(
        kv={names[at]: [run, at] for at in order} | {f"step {at}": at for at in order},
        events=[(names[at] or "-", [run, at]) for at in order],
        cells={"steps": (STEPS, STEPS + 1)},
        traces={f"{at}{names[at][:500]}": Step(Custom(names[at], run), None, (names[at], f"of {run}")) for at in order},
        runs=Registered(
            RunStatus.ACTIVE,
            known.parent_run,
            tuple(names[at] for at in order),
            {str(at): run for at in range(STEPS)},
        ),
    )


@pytest.fixture(params=[{}, {"dispatcher": "threads", "shards": 3}], ids=["caller", "threads"])
def db(request):
    with inmem.open(":memory:", **request.param) as database:
        yield database


def fill(db):
    """Do all steps of all runs, dealt out to the threads like cards."""
    work = [(number, at) for number in range(len(RUNS)) for at in range(STEPS)]
    random.Random(7).shuffle(work)

    def deal(hand):
        for number, at in hand:
            db.transaction(RUNS[number], lambda txn, number=number, at=at: step(txn, number, at), retry=PATIENT)

    in_threads(*[lambda start=start: deal(work[start::THREADS]) for start in range(THREADS)])


@pytest.mark.unmeasured
def test_every_run_sees_exactly_its_own_and_deleting_half_leaves_the_others_as_they_were(db):
    assert len(set(RUNS)) == 100
    fill(db)
    contents = [content_of(db, number) for number in range(len(RUNS))]
    for run, content in zip(RUNS, contents, strict=True):
        expect_everywhere(db, run, content)
    assert sorted(db.runs.list_runs()) == sorted(RUNS)

    doomed, kept = RUNS[::2], RUNS[1::2]
    before = {run: tables_of(db, run) for run in kept}
    in_threads(
        *[lambda start=start: [db.runs.delete_run(run) for run in doomed[start::THREADS]] for start in range(THREADS)]
    )

    assert {run: tables_of(db, run) for run in kept} == before
    for run, content in zip(kept, contents[1::2], strict=True):
        expect_everywhere(db, run, content)
    for run in doomed:
        expect_everywhere(db, run, Content())
        # Nothing but the tombstones of index entries tells that there was such a run.
        assert all(entry[1] is None for entries in tables_of(db, run).values() for entry in entries.values())
    assert sorted(db.runs.list_runs(include_archived=True)) == sorted(kept)
    assert {run for run, _ in everything(db)} == {"", *kept}
    with db.begin("any") as txn:
        txn.runs.check()
    assert db.verify().is_valid


def test_a_name_of_one_run_never_leads_to_another(db):
    """Each (run, name) pair that is the same text when put together is a place of its own."""
    pairs = [(joined[:at], joined[at:]) for joined in ("a\x00\x00b\x00\xff", "__idx__", "../x/y") for at in range(1, 6)]
    for run, name in pairs:
        with db.begin(run) as txn:
            txn.kv.put(name, [run, name])
            txn.cells.init(name, [run, name])
            txn.events.append(name or "-", [run, name])
            txn.traces.record_with_options(ToolCall(name, [run]), id=name, tags=(name,))
    for run, name in pairs:
        content = Content(
            kv={name: [run, name]},
            events=[(name or "-", [run, name])],
            cells={name: ([run, name], 1)},
            traces={name: Step(ToolCall(name, [run]), None, (name,))},
        )
        expect_everywhere(db, run, content)


def test_names_never_reach_the_file_system(tmp_path):
    folder = tmp_path / "db"
    with inmem.open(folder) as db:
        for number in range(len(RUNS)):
            db.transaction(RUNS[number], lambda txn, number=number: step(txn, number, 0))
    assert [path.name for path in tmp_path.iterdir()] == ["db"]
    assert {path.name for path in folder.iterdir()} == {"LOCK", "MANIFEST", "000000000001.wal"}
    with inmem.open(folder) as db:
        assert [db.kv.get(run, "step 0") for run in RUNS] == [0] * len(RUNS)


@pytest.mark.parametrize(
    ("refused", "expected"),
    [
        (lambda db: db.cells.cas("trip", "none", 1, 0), "there is no cell 'none' in run 'trip'"),
        (lambda db: db.cells.transition("trip", "none", lambda _: (0, 0)), "there is no cell 'none' in run 'trip'"),
        (lambda db: db.cells.init("trip", "phase", 0), "cell 'phase' exists already in run 'trip'"),
        (lambda db: db.cells.cas("trip", "phase", 7, 0), "cell 'phase' of run 'trip': expected version 7, found 1"),
        (lambda db: db.traces.get_tree("trip", "none"), "there is no trace 'none' in run 'trip'"),
        (lambda db: db.traces.record_child("trip", "none", Custom("x", 0)), "there is no trace 'none' in run 'trip'"),
        (
            lambda db: db.traces.record_with_options("trip", Custom("x", 0), id="t"),
            "trace 't' exists already in run 'trip'",
        ),
        (lambda db: db.runs.resume_run("trip"), "run 'trip' is Completed and cannot become Active"),
    ],
)
def test_who_is_refused_is_told_in_which_run(refused, expected):
    with inmem.open(":memory:") as db:
        db.begin_run("trip")
        db.cells.init("trip", "phase", 0)
        db.traces.record_with_options("trip", Custom("x", 0), id="t")
        db.runs.complete_run("trip")
        with pytest.raises(inmem.InmemError) as caught:
            refused(db)
    assert (str(caught.value), caught.value.run_id) == (expected, "trip")
