import dataclasses
import re
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inmem.engine.errors import CorruptionError, FormatVersionError, InvariantError
from inmem.engine.log import frame_reader, log_format
from inmem.engine.log.frame_reader import FrameReader
from inmem.engine.log.log_format import FRAME_HEADER_BYTES, FrameKind, SegmentHeader, encode_frame
from inmem.engine.log.log_records import DropRun
from tests.engine.log_builder import LogBuilder, put
from tests.engine.memory_disk import BytesFile, MemoryDisk, content_of

UINT64 = st.integers(0, 2**64 - 1)
HEADER = SegmentHeader(3, 0xABCDEF, 10, 500, 10, 1_700_000_000_000_000)
PAYLOADS = [b"first", b"", b"third" * 20]


def commit(version, synced=0, payload=b"payload", header=HEADER):
    return encode_frame(FrameKind.COMMIT, version, synced, payload, header.seed)


def close(version, synced=0, header=HEADER):
    return encode_frame(FrameKind.CLOSE, version, synced, b"", header.seed)


def segment(*frames, header=HEADER):
    return header.encode() + b"".join(frames)


def read(data, valid_end=None, header=HEADER):
    reader = FrameReader(BytesFile(data), header, "x.wal", valid_end)
    return reader, list(reader)


def forged(**fields):
    """A frame whose checksums hold though its fields make no sense."""
    values = {"magic": 0xF7D5, "kind": 1, "flags": 0, "length": 3, "version": 11, "synced": 0} | fields
    crc = crc32(b"abc", HEADER.seed)
    facts = log_format._FRAME_FACTS.pack(*values.values(), crc)
    return facts + crc32(facts, HEADER.seed).to_bytes(4, "little") + b"abc"


@given(UINT64, UINT64, UINT64, UINT64, UINT64, UINT64)
def test_a_header_reads_back_as_it_was(number, salt, version, previous_end, skipped, created_at_us):
    header = SegmentHeader(number, salt, version, previous_end, max(version - skipped, 0), created_at_us)
    encoded = header.encode()
    assert len(encoded) == 64
    for is_last in (False, True):
        assert SegmentHeader.decode(encoded + b"frames", "x.wal", is_last=is_last) == header
        assert SegmentHeader.decode(encoded, "x.wal", is_last=is_last) == header


@pytest.mark.parametrize("at", range(64))
@pytest.mark.parametrize("mask", [0x01, 0xFF])
def test_no_altered_header_is_read(at, mask):
    altered = bytearray(HEADER.encode())
    altered[at] ^= mask
    for tail, is_last in ((b"", False), (b"x", True)):
        with pytest.raises((CorruptionError, FormatVersionError)):
            SegmentHeader.decode(bytes(altered) + tail, "x.wal", is_last=is_last)


@pytest.mark.parametrize("size", range(64))
def test_an_incomplete_header_is_excused_in_the_last_segment_alone(size):
    # No byte of its numbers is zero, so that nothing is complete before the end.
    data = SegmentHeader(*[2**64 - 1] * 6).encode()[:size]
    assert SegmentHeader.decode(data, "x.wal", is_last=True) is None
    assert SegmentHeader.decode(data + bytes(64 - size), "x.wal", is_last=True) is None
    with pytest.raises(CorruptionError) as caught:
        SegmentHeader.decode(data, "x.wal", is_last=False)
    assert caught.value.offset == size


@pytest.mark.parametrize("data", [b"#!/bin/sh\n", b"INMEMCKP", b"x" * 64, b"SQLite format 3\0" * 100])
def test_a_foreign_file_is_named_as_such(data):
    for is_last in (False, True):
        with pytest.raises(FormatVersionError) as caught:
            SegmentHeader.decode(data, "x.wal", is_last=is_last)
        assert caught.value.path == "x.wal"


def test_a_newer_format_is_named_as_such():
    newer = dataclasses.replace(HEADER, format=3).encode()
    for is_last in (False, True):
        with pytest.raises(FormatVersionError, match="format 3"):
            SegmentHeader.decode(newer, "x.wal", is_last=is_last)


def test_a_base_version_below_the_previous_one_is_damage():
    with pytest.raises(CorruptionError):
        SegmentHeader.decode(SegmentHeader(2, 1, 4, 64, 5, 0).encode(), "x.wal", is_last=True)


@given(st.lists(st.binary(max_size=50), max_size=8), st.booleans(), st.booleans())
def test_frames_read_back_as_they_were(payloads, closed, followed):
    frames = [commit(11 + i, 64, payload) for i, payload in enumerate(payloads)]
    if closed:
        frames.append(close(10 + len(payloads), 64))
    data = segment(*frames)
    reader, found = read(data, len(data) if followed else None)
    assert [frame.payload for frame in found if frame.kind == FrameKind.COMMIT] == payloads
    assert [frame.version for frame in found][: len(payloads)] == list(range(11, 11 + len(payloads)))
    assert [frame.offset for frame in found] == [64 + len(b"".join(frames[:i])) for i in range(len(frames))]
    assert (reader.end, reader.version, reader.is_closed) == (len(data), 10 + len(payloads), closed)
    assert reader.torn is None


def test_what_lies_behind_the_valid_end_is_void():
    good = segment(commit(11), commit(12))
    reader, found = read(good + commit(13) + b"anything", len(good))
    assert [frame.version for frame in found] == [11, 12]
    assert (reader.end, reader.torn) == (len(good), None)


def test_a_segment_cut_at_any_byte_yields_a_prefix_and_reports_the_rest():
    frames = [commit(11 + i, 0, payload) for i, payload in enumerate(PAYLOADS)]
    ends = [64 + len(b"".join(frames[:i])) for i in range(len(frames) + 1)]
    data = segment(*frames)
    for size in range(64, len(data)):
        reader, found = read(data[:size])
        whole = sum(end <= size for end in ends) - 1
        assert [frame.payload for frame in found] == PAYLOADS[:whole]
        assert reader.end == ends[whole]
        assert reader.version == 10 + whole
        if size in ends:
            assert reader.torn is None
        else:
            assert reader.torn is not None
            assert reader.torn[:2] == (ends[whole], size - ends[whole])
        with pytest.raises(CorruptionError) as caught:
            read(data[:size], len(data))
        assert (caught.value.path, caught.value.offset) == ("x.wal", ends[whole])


def test_damage_below_what_a_later_frame_calls_durable_is_refused_at_every_byte():
    first, second = commit(11), commit(12)
    durable = 64 + len(first) + len(second)
    data = segment(first, second, commit(13, durable))
    for at in range(64, durable):
        altered = bytearray(data)
        altered[at] ^= 0x10
        with pytest.raises(CorruptionError) as caught:
            read(bytes(altered))
        assert caught.value.offset == (64 if at < 64 + len(first) else 64 + len(first))


def test_the_header_of_a_torn_frame_still_proves_what_was_durable():
    first = commit(11)
    data = bytearray(segment(first, commit(12, 64 + len(first))))
    data[70] ^= 1
    with pytest.raises(CorruptionError):
        read(bytes(data[:-3]))


def test_a_clean_close_guards_everything_before_it():
    body = segment(commit(11), commit(12))
    data = body + close(12, len(body))
    for at in range(64, len(body)):
        altered = bytearray(data)
        altered[at] ^= 1
        with pytest.raises(CorruptionError):
            read(bytes(altered))


def test_damage_above_what_is_known_to_be_durable_is_a_torn_tail():
    first = commit(11)
    data = bytearray(segment(first, commit(12, 64), commit(13, 64 + len(first))))
    data[64 + len(first)] ^= 1
    reader, found = read(bytes(data))
    assert [frame.version for frame in found] == [11]
    assert reader.torn is not None
    assert reader.torn.offset == 64 + len(first)


@pytest.mark.parametrize(
    "other",
    [SegmentHeader(3, 0xABCDEE, 10, 0, 0, 0), SegmentHeader(4, 0xABCDEF, 10, 0, 0, 0)],
    ids=["of another opening", "of another segment"],
)
def test_stale_frames_behind_the_tail_are_no_frames_and_prove_nothing(other):
    first = commit(11)
    stale = commit(12, 64 + len(first), header=other) + commit(13, 64 + len(first) + 10, header=other)
    for gap in (b"", b"torn"):
        reader, found = read(segment(first, gap, stale))
        assert [frame.version for frame in found] == [11]
        assert reader.torn is not None
        assert reader.torn[:2] == (64 + len(first), len(gap) + len(stale))


def test_a_copy_of_the_log_inside_a_torn_value_proves_nothing():
    whole = segment(commit(11), commit(12, 64), commit(13, 90))
    torn = commit(14, 64, payload=whole)[:-1]
    reader, found = read(whole + torn)
    assert len(found) == 3
    assert reader.torn is not None
    assert reader.torn.offset == len(whole)


@pytest.mark.parametrize(
    "frame",
    [
        forged(magic=0xF7D6),
        forged(kind=0),
        forged(kind=3),
        forged(kind=4),
        forged(flags=1),
        forged(version=10),
        forged(version=12),
        forged(synced=65),
        forged(length=2**32 - 1),
        forged(kind=2, version=10),
        forged(kind=2, version=11),
        commit(12),
        close(11),
    ],
)
def test_a_frame_that_makes_no_sense_is_not_yielded(frame):
    reader, found = read(segment(frame))
    assert found == []
    assert reader.torn is not None
    assert reader.torn[:2] == (64, len(frame))
    with pytest.raises(CorruptionError):
        read(segment(frame), 64 + len(frame))


def test_the_forged_frame_is_otherwise_a_good_one():
    assert [frame.payload for frame in read(segment(forged()))[1]] == [b"abc"]


def test_nothing_follows_a_close():
    for follower in (commit(12), close(11)):
        reader, found = read(segment(commit(11), close(11), follower))
        assert [frame.kind for frame in found] == [FrameKind.COMMIT, FrameKind.CLOSE]
        assert reader.is_closed
        assert reader.torn is not None
        assert reader.torn.size == len(follower)


@pytest.mark.parametrize("valid_end", [1, 63, 65, 70])
def test_a_valid_end_between_frames_is_damage(valid_end):
    with pytest.raises(CorruptionError):
        read(segment(commit(11)), valid_end)


def test_no_frame_is_written_that_would_not_be_read(monkeypatch):
    monkeypatch.setattr(log_format, "FRAME_BYTES_MAX", 10)
    monkeypatch.setattr(frame_reader, "FRAME_BYTES_MAX", 10)
    assert len(read(segment(commit(11, payload=b"x" * 10)))[1]) == 1
    with pytest.raises(InvariantError):
        commit(11, payload=b"x" * 11)
    monkeypatch.setattr(log_format, "FRAME_BYTES_MAX", 20)
    longer = commit(11, payload=b"x" * 11)
    assert read(segment(longer))[1] == []


@given(st.binary(max_size=200), st.integers(0, 300))
def test_arbitrary_bytes_never_become_frames(junk, at):
    body = segment(commit(11), commit(12, 64))
    at = min(at, len(body) - 64) + 64
    try:
        _, found = read(body[:at] + junk + body[at:])
    except CorruptionError:
        return
    assert [frame.payload for frame in found] == [b"payload"] * len(found)


def hexdump(data):
    lines = []
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{at:04x}  {row.hex(' '):<47}  {text}".rstrip())
    return "\n".join(lines)


def documented_dumps():
    text = (Path(__file__).parents[2] / "docs" / "log-format.md").read_text(encoding="utf-8")
    return re.findall(r"^```hexdump\n(.*?)\n```$", text, flags=re.DOTALL | re.MULTILINE)


def test_the_documented_hexdumps_are_what_is_written():
    disk = MemoryDisk()
    log = LogBuilder(disk, salt=0x0123456789ABCDEF)
    log.commit(put("run-1", b"greeting", b"\xa5hello"))
    log.sync()
    log.commit(put("run-1", b"greeting", None), DropRun("run-2"))
    log.mark()
    log.close()
    wal, manifest = content_of(disk, "000000000001.wal"), content_of(disk, "MANIFEST")
    LogBuilder(disk, salt=2).checkpoint()
    written = [wal, manifest, content_of(disk, "000000000003.checkpoint")]
    assert documented_dumps() == [hexdump(data) for data in written]


def test_the_checksums_are_the_documented_ones():
    frame = commit(11, 64, b"payload")
    header = HEADER.encode()
    seed = header[16:32]
    assert int.from_bytes(header[12:16], "little") == crc32(header[:12] + header[16:])
    assert int.from_bytes(frame[24:28], "little") == crc32(seed + b"payload")
    assert int.from_bytes(frame[28:32], "little") == crc32(seed + frame[:28])
    assert frame[FRAME_HEADER_BYTES:] == b"payload"


class GrowingFile:
    """A segment with room claimed ahead, whose writer gets further between any two reads of it."""

    def __init__(self, content, size, progress):
        self.content, self.size, self._progress = content, size, iter(progress)
        self.written = next(self._progress)

    def read_at(self, offset, size):
        data = self.content[: self.written].ljust(self.size, b"\x00")[offset : offset + size]
        self.written = next(self._progress, len(self.content))
        return data


@given(st.data())
def test_a_segment_that_is_being_written_is_not_taken_for_a_damaged_one(data):
    frames = [HEADER.encode()]
    for number in range(data.draw(st.integers(1, 8))):
        payload = data.draw(st.sampled_from(PAYLOADS))
        frames.append(commit(11 + number, synced=sum(map(len, frames)), payload=payload))
    content = b"".join(frames)
    progress = sorted(data.draw(st.lists(st.integers(64, len(content)), min_size=1, max_size=12)))
    file = GrowingFile(content, data.draw(st.integers(len(content), 2 * len(content))), progress)
    whole = sum(len(b"".join(frames[:count])) <= file.written for count in range(2, len(frames) + 1))
    reader = FrameReader(file, HEADER, "x.wal", None)
    versions = [frame.version for frame in reader]
    assert versions == [*range(11, 11 + len(versions))]
    assert len(versions) >= whole
    assert reader.end == len(b"".join(frames[: 1 + len(versions)]))
