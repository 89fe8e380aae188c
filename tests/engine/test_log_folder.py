from inmem.engine.log.log_folder import FolderContents, checkpoint_name, segment_name, torn_name


def test_names_sort_as_their_numbers():
    for name_of in (segment_name, checkpoint_name):
        names = [name_of(number) for number in (1, 2, 9, 10, 11, 4711, 10**11)]
        assert names == sorted(names)


def test_every_name_is_taken_for_what_it_is():
    names = [
        segment_name(10),
        segment_name(2),
        checkpoint_name(2),
        checkpoint_name(2) + ".tmp",
        segment_name(3) + ".tmp",
        "MANIFEST",
        "MANIFEST.tmp",
        torn_name(segment_name(9), 4711),
        "LOCK",
    ]
    assert names[0] == "000000000010.wal"
    assert names[2] == "000000000002.checkpoint"
    assert names[7] == "000000000009.wal.torn-4711"
    temporary = ("000000000002.checkpoint.tmp", "000000000003.wal.tmp", "MANIFEST.tmp")
    assert FolderContents.of(names) == FolderContents((2, 10), (2,), temporary, (names[7],))


def test_other_names_are_not_ours():
    names = ["1.wal", "000000000000.wal", "0000000000001.wal", "00000000000a.wal", "00000000000\N{SUPERSCRIPT TWO}.wal"]
    names += [
        "00000000000\N{ARABIC-INDIC DIGIT ONE}.checkpoint",
        "-00000000001.wal",
        ".wal",
        "000000000001.WAL",
        "notes.txt",
        "notes.tmp",
        ".tmp",
        "LOCK.tmp",
        "000000000000.wal.tmp",
        "1.checkpoint.tmp",
        "000000000001.wal.tmp.tmp",
        "000000000001.wal.torn-5.tmp",
        "MANIFEST.TMP",
    ]
    assert FolderContents.of(names) == FolderContents((), (), (), ())
