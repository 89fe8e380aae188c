"""A run as a file: lossless, the same bytes for the same run, and refused if a single one of them is another."""

import contextlib
import hashlib
import io
import json
import math
import re
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import inmem
from inmem import Custom, Decision, ErrorTrace, Query, RunFileError, RunStatus, Thought, ToolCall, run_file
from inmem.json_values import from_json, to_json
from inmem.run_file import read_run
from tests.primitives.machine import HOSTILE_NAMES

_TAIL = len(b',"line_hash":""}\n') + 64


@pytest.fixture
def db():
    with inmem.open(":memory:") as db:
        yield db


@pytest.fixture
def other():
    with inmem.open(":memory:") as db:
        yield db


def fill(db, run="run"):
    """A run with a little of everything."""
    db.runs.create_run("parent")
    db.runs.create_run(run, parent="parent", tags=["b", "a"], metadata={"$bytes": "not bytes"})
    db.kv.put(run, "key", [b"\x00\xff", -0.0, 1.0, 1, 2**63 - 1, -(2**63), None, True, "\x00\u2028\x9b🚢"])
    db.kv.put(run, "short", "lived", ttl=1000)
    db.kv.put(run, "gone", 1)
    db.kv.delete(run, "gone")
    db.events.append_many(run, [("start", {"n": math.inf}), ("stop", None)])
    db.cells.init(run, "phase", 1)
    db.cells.cas(run, "phase", 1, 2)
    db.cells.init(run, "deleted", 1)
    db.cells.delete(run, "deleted")
    root = db.traces.record(run, ToolCall("search", {"q": "x"}, b"found", 1.5))
    for kind in (Decision("q", ["a", "b"], "a", "because"), Query("sql", "select", 3), Thought("hm", 0.5)):
        db.traces.record_child(run, root.id, kind)
    db.traces.record_with_options(run, ErrorTrace("E", "boom"), id="own id", tags=["t"], metadata={"m": [1]})
    db.traces.record(run, Custom("note"))
    db.runs.fail_run(run, "boom")


def exported(db, run="run"):
    file = io.BytesIO()
    db.export_run(run, file)
    return file.getvalue()


def everything(db, run="run"):
    """All that the primitives tell of a run, without the versions of keys."""
    with db.begin(run) as txn:
        txn.events.check()
        txn.traces.check()
        txn.runs.check()
        assert txn.events.verify_chain().is_valid
        entries = {key: txn.kv.get_versioned(key) for key in txn.kv.list()}
        traces = [txn.traces.get(trace_id) for trace_id in txn.traces.list()]
        told = (
            txn.runs.get_run(run),
            {key: (entry.value, entry.expires_at) for key, entry in entries.items()},
            list(txn.events.iter()),
            {name: txn.cells.read(name) for name in txn.cells.list()},
            traces,
            [txn.traces.get_tree(root.id) for root in txn.traces.roots()],
        )
    # By their reprs, so that NaN equals NaN, and 1 neither 1.0 nor True.
    return repr(told)


def test_an_imported_run_is_the_run(db, other):
    fill(db)

    told = other.import_run(io.BytesIO(exported(db)))

    assert (told.run_id, told.is_registered) == ("run", True)
    assert (told.keys, told.events, told.cells, told.traces) == (2, 2, 2, 6)
    assert everything(other) == everything(db)
    assert exported(other) == exported(db)
    assert other.verify().is_valid
    assert other.cells.init("run", "deleted", "again") == 2, "a deleted cell goes on counting"
    assert other.get_versioned("run", "key").version == 1, "a key has the version of the commit"
    assert other.events.append("run", "more").prev_hash == db.events.head("run").hash


names = st.sampled_from(HOSTILE_NAMES)
doubles = st.binary(min_size=8, max_size=8).map(lambda data: struct.unpack(">d", data)[0])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | doubles | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text() | st.sampled_from(["$bytes", "$float", "$dict", "$"]), inner, max_size=2)
    ),
    max_leaves=8,
)


@given(value=values | st.lists(st.just(b"") | st.just(False) | st.just("\x00"), max_size=300))
def test_json_takes_so_much_for_a_stored_byte_and_no_more(value):
    # What the longest line is reckoned with.
    json_bytes = len(json.dumps(to_json(value), separators=(",", ":"), allow_nan=False))
    assert json_bytes <= run_file._JSON_BYTES_PER_BYTE_MAX * len(inmem.engine.codec.encode_value(value))


@given(value=values)
def test_json_holds_every_value(value):
    held = json.loads(json.dumps(to_json(value), allow_nan=False))
    assert inmem.engine.codec.encode_value(from_json(held)) == inmem.engine.codec.encode_value(value)


@pytest.mark.parametrize(
    "value",
    [
        {"$bytes": "?"},
        {"$bytes": 1},
        {"$bytes": "AB=="},
        {"$float": "1.0"},
        {"$float": "00"},
        {"$float": "3ff0000000000000"},
        {"$float": "7ff0000000000000"},
        {"$float": "7FF8000000000001"},
        {"$dict": 1},
        {"$dict": {}},
        {"$dict": {"a": 1}},
        {"$dict": {"$a": 1, "b": 2}},
        {"$else": 1},
        [{"$": {}}],
    ],
)
def test_json_that_holds_no_value(value):
    with pytest.raises(ValueError, match=r"\$|base64|hexa|padding"):
        from_json(value)


@settings(max_examples=30)
@given(
    run=names.filter(bool),
    kv=st.dictionaries(names, values, max_size=3),
    events=st.lists(st.tuples(names.filter(bool), values), max_size=4),
    cells=st.dictionaries(names, st.tuples(values, st.booleans()), max_size=3),
    traces=st.dictionaries(names, st.tuples(values, st.lists(names, max_size=2)), max_size=4),
    registered=st.booleans(),
)
def test_whatever_a_run_holds_survives(run, kv, events, cells, traces, registered):
    with inmem.open(":memory:") as db, inmem.open(":memory:") as other:
        with db.begin(run) as txn:
            if registered:
                txn.runs.create_run(run, tags=kv, metadata=kv)
            for key, value in kv.items():
                txn.kv.put(key, value)
            txn.events.append_many(events)
            for name, (value, is_deleted) in cells.items():
                txn.cells.init(name, value)
                if is_deleted:
                    txn.cells.delete(name)
            parent = None
            for trace_id, (value, tags) in traces.items():
                kind = ToolCall("tool", value, value)
                txn.traces.record_with_options(kind, id=trace_id, parent_id=parent, tags=tags, metadata={"v": value})
                parent = trace_id if tags else parent
        if not (kv or events or cells or traces or registered):
            with pytest.raises(inmem.RunNotFoundError):
                exported(db, run)
            return

        other.import_run(io.BytesIO(exported(db, run)))

        assert everything(other, run) == everything(db, run)
        assert exported(other, run) == exported(db, run)


@pytest.mark.unmeasured
def test_no_byte_can_be_another(db):
    fill(db)
    data = exported(db)
    assert data.isascii()
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1
        with pytest.raises((RunFileError, inmem.FormatVersionError)) as caught:
            read_run(io.BytesIO(changed))
        if isinstance(caught.value, RunFileError):
            # A line end that is none any more joins two lines.
            assert caught.value.line == data.count(b"\n", 0, at) + 1


def test_no_line_can_be_missing_doubled_or_moved(db, other):
    fill(db)
    lines = exported(db).splitlines(keepends=True)
    for at in range(1, len(lines)):
        for changed, line in (
            (lines[:at] + lines[at + 1 :], at + 1),
            (lines[: at + 1] + lines[at:], at + 2),
            ([*lines[: at - 1], lines[at], lines[at - 1], *lines[at + 1 :]], at),
            ([*lines[:at], lines[at][:-10]], at + 1),
            ([*lines[:at], lines[at][:-1]], at + 1),
            (lines[:at], at + 1),
        ):
            with pytest.raises((RunFileError, inmem.FormatVersionError)) as caught:
                other.import_run(io.BytesIO(b"".join(changed)))
            if isinstance(caught.value, RunFileError):
                assert caught.value.line == line
    assert other.version == 0


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"[]", b"hello\n", b"\xff\n", b'{"a":1}\n', b"[" * 100_000, b'{"format":"inmem-run"}\n']
)
def test_what_is_no_exported_run(db, content):
    with pytest.raises(inmem.FormatVersionError):
        db.import_run(io.BytesIO(content))


def test_a_file_that_is_none_of_ours_is_not_read_to_its_end(db):
    """It may have none: /dev/zero filled the memory of the machine."""
    file = io.BytesIO(bytes(2**20))
    with pytest.raises(inmem.FormatVersionError):
        db.import_run(file)
    assert file.tell() <= 2**16


def forged(data, change):
    """Return an export with changed records and all hashes of lines as they must be."""
    records = [json.loads(line[:-_TAIL] + b"}") for line in data.splitlines(keepends=True)]
    change(records)
    return sealed([json.dumps(record, separators=(",", ":")).encode()[:-1] for record in records])


def sealed(bodies):
    """Return the lines with their hashes."""
    made, digest = [], bytes(32)
    for body in bodies:
        digest = hashlib.sha256(digest + body).digest()
        made.append(body + b',"line_hash":"' + digest.hex().encode() + b'"}\n')
    return b"".join(made)


def first(records, item):
    return next(at for at, record in enumerate(records) if record.get("item") == item)


class _Counted(io.BytesIO):
    """A file that counts what is read of it."""

    read_bytes = 0

    def readline(self, size=-1):
        line = super().readline(size)
        self.read_bytes += len(line)
        return line


_MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"\0" * 8 * _MIB, "was changed, or does not follow the line that is before it"),
        (b'{"item":"key","key":"' + b"\xff" * 8 * _MIB, "was changed, or does not follow the line that is before it"),
        (b'{"item":"key","key":"' + b"x" * 8 * _MIB, "is longer than any line"),
    ],
)
def test_a_line_without_end_is_not_read_to_its_end(db, other, monkeypatch, line, reason):
    monkeypatch.setattr(run_file, "LINE_BYTES_MAX", 3 * _MIB)
    fill(db)
    header = exported(db).splitlines(keepends=True)[0]
    file = _Counted(header + line)
    with pytest.raises(RunFileError, match=re.escape(reason)) as caught:
        other.import_run(file)
    assert caught.value.line == 2
    assert file.read_bytes < 5 * _MIB


@pytest.mark.parametrize("off", [-1, 0, 1, _MIB])
def test_a_line_may_be_as_long_as_it_takes(db, other, off):
    # The lengths at which reading a piece ends with the line, too.
    db.put("run", "k", "")
    room = _MIB - len(exported(db).splitlines(keepends=True)[1])
    db.put("run", "k", "x" * (room + off))
    data = exported(db)
    header, line, _ = data.splitlines(keepends=True)
    assert len(line) == _MIB + off
    for missing in (1, off) if off > 0 else (1, 100):
        with pytest.raises(RunFileError, match="line 2: is cut off"):
            other.import_run(io.BytesIO(header + line[:-missing]))
    other.import_run(io.BytesIO(data))
    assert exported(other) == data


def test_a_forgery_that_changes_nothing_is_accepted(db, other):
    fill(db)
    assert forged(exported(db), lambda _records: None) == exported(db)
    other.import_run(io.BytesIO(forged(exported(db), lambda _records: None)))


@pytest.mark.parametrize(
    ("item", "changes", "message"),
    [
        ("event", {"payload": {"n": 1}}, "event 0 does not have the hash of its content"),
        ("event", {"timestamp": 0}, "event 0 does not have the hash of its content"),
        ("event", {"timestamp": 2**70}, "timestamp: must be microseconds"),
        ("event", {"prev_hash": "11" * 32}, "event 0 does not name the hash of the event before it"),
        ("event", {"sequence": 1}, "sequence: must be 0, not 1"),
        ("event", {"hash": "11"}, "hash: must have 64 hexadecimal digits"),
        ("event", {"hash": "xx"}, "hash: must have 64 hexadecimal digits"),
        ("event", {"hash": " ".join(["11"] * 32)}, "hash: must have 64 hexadecimal digits"),
        ("event", {"hash": "AA" * 32}, "hash: must have 64 hexadecimal digits in lower case"),
        ("event", {"event_type": ""}, "event_type: must not be empty"),
        ("event", {"payload": {"$bytes": 1}}, r"payload: \$bytes is not followed by what belongs there"),
        ("event", {"payload": {"$bytes": "?"}}, "payload: "),
        ("event", {"payload": {"$dict": {"a": 1}}}, r"payload: \$dict is not followed by what belongs there"),
        ("event", {"payload": [{"$float": "3ff0000000000000"}]}, r"payload: \$float is followed by another form"),
        ("event", {"payload": {"a": {"$bytes": "AB=="}}}, r"payload: \$bytes is followed by another form"),
        ("event", {"payload": 2**63}, "payload: int does not fit in 64 bits"),
        ("event", {"payload": "\ud800"}, "payload: str has a lone surrogate"),
        ("event", {"extra": 1}, "extra: does not belong here"),
        ("event", {"item": "else"}, "item: there is no 'else'"),
        ("run", {"run_id": "another"}, "run_id: must be 'run', not 'another'"),
        ("run", {"status": "Happy"}, "status: must be one of"),
        ("run", {"created_at": -1}, "created_at: must be microseconds"),
        ("run", {"created_at": 1.0}, "created_at: cannot be a JSON float"),
        ("run", {"tags": [1]}, "tags: a tag cannot be a JSON int"),
        ("run", {"tags": [[]]}, "tags: a tag cannot be a JSON list"),
        ("run", {"tags": ["a", "b", "a"]}, "tags: 'a' is there twice"),
        ("run", {"metadata": []}, "metadata: must be a dict"),
        ("run", {"metadata": None}, "metadata: must be a dict"),
        ("run", {"error": "\ud800"}, "error: str has a lone surrogate"),
        ("run", {"parent_run": "run"}, "parent_run: is the run itself"),
        ("run", {"updated_at": 1}, "updated_at: is before created_at"),
        ("run", {"completed_at": 1}, "completed_at: is not between created_at and updated_at"),
        ("run", {"completed_at": 2**62}, "completed_at: is not between created_at and updated_at"),
        ("run", {"completed_at": None}, "completed_at: must be a time, as the run is Failed"),
        ("run", {"status": "Completed", "completed_at": None}, "completed_at: must be a time, as the run is Completed"),
        ("run", {"status": "Completed"}, "error: must be None, as the run is Completed"),
        ("run", {"status": "Cancelled"}, "error: must be None, as the run is Cancelled"),
        ("run", {"status": "Active"}, "completed_at: must be None, as the run is Active"),
        ("run", {"status": "Paused", "completed_at": None}, "error: must be None, as the run is Paused"),
        ("run", {"status": "Archived", "completed_at": None}, "error: must be None, as the run is Archived"),
        ("key", {"key": "x" * 1025}, "1025 bytes of UTF-8"),
        ("key", {"key": "short"}, "key: 'short' is there twice"),
        ("key", {"expires_at": 2**63}, "expires_at: must be microseconds"),
        ("key", {"expires_at": 0}, "expires_at: must be microseconds"),
        ("cell", {"version": 0}, "version: must be from 1"),
        ("cell", {"version": 2**63 - 1}, "version: must be from 1"),
        ("cell", {"value": 1}, "value: must be None, as the cell is deleted"),
        ("cell", {"is_deleted": 1}, "is_deleted: cannot be a JSON int"),
        ("trace", {"parent_id": "nobody"}, "parent_id: there is no trace 'nobody' before this one"),
        ("trace", {"trace_type": "Guess"}, "trace type: must be one of"),
        ("trace", {"tags": [{}]}, "tags: a tag cannot be a JSON dict"),
        ("trace", {"tags": ["t", "t"]}, "tags: 't' is there twice"),
        (
            "trace",
            {"kind": {"tool_name": "t", "arguments": {"$float": "?"}, "result": 1, "duration_ms": 1}},
            r"kind\.arguments: ",
        ),
        (
            "trace",
            {"kind": {"tool_name": "t", "arguments": ["\ud800"], "result": 1, "duration_ms": 1}},
            r"ToolCall\.arguments\[0\]: str has a lone surrogate",
        ),
        ("trace", {"kind": {}}, "kind: a ToolCall has the fields tool_name"),
        ("trace", {"kind": {"tool_name": 1, "arguments": 1, "result": 1, "duration_ms": 1}}, "must be str, not int"),
    ],
)
def test_a_forgery_that_no_store_could_have_written_is_refused(db, other, item, changes, message):
    fill(db)
    places = []

    def change(records):
        places.append(first(records, item))
        records[places[0]] |= changes

    with pytest.raises(RunFileError, match=message) as caught:
        other.import_run(io.BytesIO(forged(exported(db), change)))
    # What is there twice shows where it is for the second time.
    assert caught.value.line == places[0] + 1 or "twice" in message
    assert other.version == 0


@pytest.mark.parametrize(
    "status", [*(status for status in RunStatus if status is not RunStatus.ARCHIVED), "Failed without a reason"]
)
@pytest.mark.parametrize("is_archived", [False, True])
def test_whatever_a_run_can_have_come_to_is_accepted(db, other, status, is_archived):
    db.begin_run("run")
    if status == RunStatus.FAILED:
        db.runs.fail_run("run", "boom")
    elif status != RunStatus.ACTIVE:
        db.runs.update_status("run", status.partition(" ")[0])
    if is_archived:
        db.runs.archive_run("run")

    other.import_run(io.BytesIO(exported(db)))

    assert other.runs.get_run("run") == db.runs.get_run("run")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b'{"format"', b'{ "format"', "not in the form"),
        (b'"version":1,"run_id":"run"', b'"run_id":"run","version":1', "not in the form"),
        (b'"counts":{"runs":1,"keys":2', b'"counts":{"keys":2,"runs":1', "counts: must say"),
        (b'{"format"', b'{"since":1,"format"', "since: does not belong here"),
        (b'"sequence":0', b'"sequence": 0', "not in the form"),
        (b'"sequence":0', b'"sequence":7,"sequence":0', "not in the form"),
        (b'"start"', b'"st\\u0061rt"', "not in the form"),
        (b"-0.0,1.0,", b"-0.0,1.00,", "not in the form"),
        (b'{"$float":"inf"}', b"1e999", "not JSON: Out of range float"),
        (b'"key":"short","value":"lived"', b'"value":"lived","key":"short"', "key: is not in its place"),
        (b'"item":"end","lines":', b'"lines":15,"item":"end"', "not JSON"),
        (b'{"item":"end"', b'{ "item":"end"', "not in the form"),
    ],
)
def test_what_is_written_in_another_way_is_refused(db, other, old, new, reason):
    """Its line hashes are right; but no export would have given that line, so it cannot be what was exported."""
    fill(db)
    bodies = [line[:-_TAIL] for line in exported(db).splitlines(keepends=True)]
    [at] = [at for at, body in enumerate(bodies) if old in body]
    bodies[at] = bodies[at].replace(old, new, 1)

    with pytest.raises(RunFileError, match=reason) as caught:
        other.import_run(io.BytesIO(sealed(bodies)))
    assert caught.value.line == at + 1
    assert other.version == 0


@pytest.mark.parametrize("place", ["run", "key", "key + 1", "event + 1", "cell", "cell + 1"])
def test_an_item_that_has_changed_places_with_the_next_is_refused(db, other, place):
    fill(db)
    item, _, more = place.partition(" + ")

    def swap(records):
        at = first(records, item) + int(more or 0)
        records[at : at + 2] = records[at + 1], records[at]

    with pytest.raises(RunFileError, match="item: belongs before the one that is before it"):
        other.import_run(io.BytesIO(forged(exported(db), swap)))
    assert other.version == 0


def test_traces_out_of_the_order_of_recording_are_refused(db, other):
    """They were accepted, and exported in another order than they had in the file."""
    for name in ("first", "second", "third"):
        db.traces.record_with_options("run", Thought(name), id=name)
    db.traces.record_child("run", "third", Thought("child"))
    data = exported(db)

    def swap(records):
        at = first(records, "trace")
        records[at]["timestamp"] -= 1
        records[at : at + 2] = records[at + 1], records[at]

    with pytest.raises(RunFileError, match="'second' is not in the order of recording, 'first' comes first") as caught:
        other.import_run(io.BytesIO(forged(data, swap)))
    assert caught.value.line == 2

    def make_later(records):
        records[first(records, "trace") + 1]["timestamp"] = 2**62

    with pytest.raises(RunFileError, match="'second' is not in the order of recording, 'third' comes first") as caught:
        other.import_run(io.BytesIO(forged(data, make_later)))
    assert caught.value.line == 3
    assert other.version == 0


@pytest.mark.parametrize("item", ["run", "key", "event", "cell", "trace"])
def test_an_item_that_is_there_twice_is_refused(db, other, item):
    fill(db)

    def double(records):
        at = first(records, item)
        records.insert(at, records[at])
        records[0]["counts"][f"{item}s"] += 1
        records[-1]["lines"] += 1

    with pytest.raises(RunFileError, match=r"twice|sequence: must be 1, not 0"):
        other.import_run(io.BytesIO(forged(exported(db), double)))
    assert other.version == 0


def test_a_field_that_is_missing_is_named(db, other):
    fill(db)
    for item, name in (("event", "payload"), ("key", "key"), ("trace", "kind")):
        data = forged(exported(db), lambda records, item=item, name=name: records[first(records, item)].pop(name))
        with pytest.raises(RunFileError, match=f"{name}: is missing"):
            other.import_run(io.BytesIO(data))


@pytest.mark.parametrize(
    "change",
    [
        lambda records: records[0]["counts"].update(keys=3),
        lambda records: records[0]["counts"].update(keys="2"),
        lambda records: records[0]["counts"].pop("keys"),
        lambda records: records[0].update(run_id=""),
        lambda records: records[0].update(extra=1),
        lambda records: records[0].pop("run_id"),
        lambda records: records[-1].update(lines=1),
        lambda records: records[-1].update(lines=float(records[-1]["lines"])),
        lambda records: records.append(records[-1]),
        lambda records: records.insert(1, []),
        lambda records: records.insert(1, {"item": []}),
        lambda records: records.insert(2, records[1]),
    ],
)
def test_a_frame_that_does_not_fit_is_refused(db, other, change):
    fill(db)
    with pytest.raises(RunFileError):
        other.import_run(io.BytesIO(forged(exported(db), change)))
    assert other.version == 0


def test_nesting_without_end_is_refused(db, other):
    fill(db)
    lines = exported(db).splitlines(keepends=True)
    deep = b'{"item":"key","key":"k","value":' + b"[" * 50_000 + b"]" * 50_000 + b',"expires_at":null'
    digest = hashlib.sha256(hashlib.sha256(bytes(32) + lines[0][:-_TAIL]).digest() + deep).hexdigest()
    with pytest.raises(RunFileError, match="line 2: "):
        other.import_run(io.BytesIO(lines[0] + deep + b',"line_hash":"' + digest.encode() + b'"}\n'))


def test_a_newer_format_is_refused_by_name(db, other):
    fill(db)
    data = forged(exported(db), lambda records: records[0].update(version=2))
    with pytest.raises(inmem.FormatVersionError, match="format 2; this version reads 1"):
        other.import_run(io.BytesIO(data))


@pytest.mark.parametrize("version", [True, 1.0, "1", None, [1]])
def test_a_version_that_only_seems_to_be_the_number_is_refused(db, other, version):
    fill(db)
    data = forged(exported(db), lambda records: records[0].update(version=version))
    with pytest.raises(inmem.FormatVersionError, match=r"an exported run of format .+; this version reads 1"):
        other.import_run(io.BytesIO(data))
    assert other.version == 0


OF_EVERY_JSON_TYPE = [None, True, -1, 1.5, "x", [], [[]], [{}], [None], {}, {"x": []}, {"$bytes": 1}]


@pytest.mark.parametrize("item", ["run", "key", "event", "cell", "trace"])
def test_whatever_a_field_holds_is_imported_or_refused_by_line(db, item):
    fill(db)
    records = [json.loads(line[:-_TAIL] + b"}") for line in exported(db).splitlines(keepends=True)]
    at = first(records, item)
    for field in records[at]:
        for value in OF_EVERY_JSON_TYPE:
            data = forged(exported(db), lambda records, change={field: value}: records[at].update(change))
            # Some values fit. Of the others, a bad list of tags was a bare TypeError.
            with inmem.open(":memory:") as other, contextlib.suppress(RunFileError):
                other.import_run(io.BytesIO(data))


def test_a_run_that_is_there_is_left_alone(db, other):
    fill(db)
    data = exported(db)
    other.import_run(io.BytesIO(data))
    with pytest.raises(inmem.RunExistsError) as caught:
        other.import_run(io.BytesIO(data))
    assert (caught.value.name, other.version) == ("run", 1)

    other.runs.delete_run("run")
    other.import_run(io.BytesIO(data))
    assert everything(other) == everything(db)


@pytest.mark.parametrize("primitive", ["kv", "events", "cells", "traces"])
def test_a_run_that_holds_something_unregistered_is_there_too(db, other, primitive):
    fill(db)
    with other.begin("run") as txn:
        {
            "kv": lambda: txn.kv.put("k", 1),
            "events": lambda: txn.events.append("e"),
            "cells": lambda: (txn.cells.init("c", 1), txn.cells.delete("c")),
            "traces": lambda: txn.traces.record(Thought("t")),
        }[primitive]()
    with pytest.raises(inmem.RunExistsError):
        other.import_run(io.BytesIO(exported(db)))


def test_an_import_gives_way_to_whoever_was_first(db, other):
    fill(db)
    steps = []

    def interfere(done, total):
        steps.append((done, total))
        if done == total // 2 and other.version == 0:
            # The import has begun its transaction, and the run was empty.
            other.put("run", "another key", 1)

    with pytest.raises(inmem.RunExistsError):
        other.import_run(io.BytesIO(exported(db)), on_progress=interfere)
    assert other.version == 1
    assert steps[0][0] == 0


def test_a_run_larger_than_a_transaction_is_refused(db):
    fill(db)
    with inmem.open(":memory:", limits=inmem.Limits(transaction_bytes_max=1000)) as other:
        with pytest.raises(inmem.UsageError, match="at most 1000 are allowed"):
            other.import_run(io.BytesIO(exported(db)))
        assert other.version == 0


LARGE = "x" * 2000
LARGE_IN = {
    "metadata": lambda txn: txn.runs.create_run("run", metadata={"large": LARGE}),
    "error": lambda txn: (txn.runs.create_run("run"), txn.runs.fail_run("run", LARGE)),
    "value": lambda txn: txn.kv.put("key", LARGE),
    "payload": lambda txn: txn.events.append("large", LARGE),
    "value of a cell": lambda txn: txn.cells.init("cell", LARGE),
    "ToolCall.arguments": lambda txn: txn.traces.record(ToolCall("tool", LARGE)),
    "Thought.content": lambda txn: txn.traces.record(Thought(LARGE)),
    "metadata of a trace": lambda txn: txn.traces.record_with_options(Thought("t"), metadata={"large": LARGE}),
}


@pytest.mark.parametrize("place", LARGE_IN)
def test_a_value_that_this_store_does_not_take_is_no_fault_of_the_file(db, place):
    with db.begin("run") as txn:
        LARGE_IN[place](txn)
    data = exported(db)

    with inmem.open(":memory:", limits=inmem.Limits(value_bytes_max=1000)) as small:
        with pytest.raises(inmem.InvalidValueError) as caught:
            small.import_run(io.BytesIO(data))
        assert caught.value.path == f"the stream, line 2: {place.partition(' ')[0]}"
        assert str(caught.value) == f"{caught.value.path}: larger than 1000 bytes when encoded"
        assert small.version == 0
    with inmem.open(":memory:", limits=inmem.Limits(value_bytes_max=3000)) as large:
        large.import_run(io.BytesIO(data))
        assert exported(large) == data


def test_a_value_beyond_the_default_limit_is_imported_where_the_limit_is_higher():
    limits = inmem.Limits(value_bytes_max=32 * 2**20)
    with inmem.open(":memory:", limits=limits) as db, inmem.open(":memory:", limits=limits) as other:
        db.put("run", "key", bytes(17 * 2**20))
        other.import_run(io.BytesIO(exported(db)))
        assert other.get("run", "key") == bytes(17 * 2**20)


def test_parents_and_children_come_in_any_order(db, other):
    fill(db)
    other.import_run(io.BytesIO(exported(db)))
    assert other.runs.get_run("run").parent_run == "parent"
    assert [run.run_id for run in other.runs.get_child_runs("parent")] == ["run"]

    other.import_run(io.BytesIO(exported(db, "parent")))

    assert other.runs.get_run("parent").status is RunStatus.ACTIVE
    assert other.runs.list_runs() == ["parent", "run"], "in the order of creation"


def test_expired_keys_stay_behind(db, other):
    db.put("run", "long", 1, ttl=1000)
    data = forged(exported(db), lambda records: records[1].update(expires_at=1))
    assert other.import_run(io.BytesIO(data)).keys == 1
    assert other.get("run", "long") is None
    with pytest.raises(inmem.RunNotFoundError):
        exported(other)


def test_a_child_that_seems_older_than_its_parent(db, other):
    """As after an import from a machine whose clock is ahead."""
    db.traces.record_with_options("run", Thought("parent"), id="parent")
    later = 2**62
    data = forged(exported(db), lambda records: records[1].update(timestamp=later))
    other.import_run(io.BytesIO(data))
    child = other.traces.record_child("run", "parent", Thought("child"))
    grandchild = other.traces.record_child("run", child.id, Thought("grandchild"))
    assert other.traces.list("run") == [child.id, grandchild.id, "parent"]

    with inmem.open(":memory:") as third:
        third.import_run(io.BytesIO(exported(other)))
        assert everything(third) == everything(other)


def test_a_file_appears_whole(db, tmp_path):
    fill(db)
    path = tmp_path / "run.jsonl"

    told = db.export_run("run", path)

    assert path.read_bytes() == exported(db)
    assert told.digest == json.loads(path.read_bytes().splitlines()[-1])["line_hash"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["run.jsonl"]


def test_a_file_that_cannot_be_written_leaves_what_was_there(db, tmp_path):
    fill(db)
    path = tmp_path / "run.jsonl"
    path.write_text("an older one")

    def fail(_done, _total):
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        db.export_run("run", path, on_progress=fail)
    assert path.read_text() == "an older one"
    assert [each.name for each in tmp_path.iterdir()] == ["run.jsonl"]
    with pytest.raises(FileNotFoundError, match=r"missing/run\.jsonl"):
        db.export_run("run", tmp_path / "missing" / "run.jsonl")


NO_FILES = [None, 5, b"run.jsonl", "", "nul\0", io.StringIO(), ["run.jsonl"]]


@pytest.mark.parametrize("file", NO_FILES, ids=lambda file: type(file).__name__)
def test_what_is_no_file_is_refused_by_the_name_of_the_argument(db, file):
    fill(db)
    with pytest.raises(inmem.UsageError, match="file: must be a "):
        db.export_run("run", file)
    with pytest.raises(inmem.UsageError, match="file: must be a "):
        db.import_run(file)


def test_who_is_to_be_told_must_be_a_function(db, other, tmp_path):
    fill(db)
    db.export_run("run", tmp_path / "run.jsonl")
    with pytest.raises(inmem.UsageError, match=r"^on_progress: must be a function that takes two .*, or None, not int"):
        db.export_run("run", tmp_path / "another.jsonl", on_progress=5)
    with pytest.raises(inmem.UsageError, match=r"^on_progress: must be a function that takes two .*, or None, not int"):
        other.import_run(tmp_path / "run.jsonl", on_progress=5)
    assert [each.name for each in tmp_path.iterdir()] == ["run.jsonl"]
    assert other.runs.list_runs() == []


def test_an_import_is_durable_and_the_export_needs_no_ownership(db, tmp_path):
    fill(db)
    db.export_run("run", tmp_path / "run.jsonl")
    with inmem.open(tmp_path / "db") as target:
        target.import_run(tmp_path / "run.jsonl")
        with inmem.open(tmp_path / "db", read_only=True) as reader:
            assert exported(reader) == exported(db)
            with pytest.raises(inmem.ReadOnlyError):
                reader.import_run(io.BytesIO(exported(db, "parent")))
    with inmem.open(tmp_path / "db") as target:
        assert everything(target) == everything(db)
        assert target.verify().is_valid


def test_an_export_that_nobody_could_import_is_not_made(db, monkeypatch, tmp_path):
    fill(db)
    items = inmem.primitives.run_contents.RunContents.items

    def without_the_last(contents):
        return list(items(contents))[:-1]

    monkeypatch.setattr(inmem.primitives.run_contents.RunContents, "items", without_the_last)
    with pytest.raises(inmem.InvariantError, match=r"run 'run': wrote 12 items, but the header counts 13"):
        db.export_run("run", tmp_path / "run.jsonl")
    assert list(tmp_path.iterdir()) == []
