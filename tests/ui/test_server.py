"""The explorer as a server: where it listens, what it shows while others write, and how it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the explorer is an extra")

import inmem
import inmem.ui
from inmem import looking_pace
from inmem.ui import desk as desk_module
from inmem.ui import source as source_module
from tests.ui.site import Site


def get(address):
    # Not what the environment may say about proxies: this is loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(address, timeout=30) as answer:
        return answer.read().decode()


def ours():
    """The explorer's threads. Those in which pages are made are their library's, and end a moment later."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("inmem-ui")}


def version_at(url):
    return json.loads(get(f"{url}version"))["version"]


def test_it_listens_on_loopback_alone_with_a_token_of_its_own(db):
    with inmem.ui.start(db) as one, inmem.ui.start(db) as other:
        assert one._socket.getsockname()[0] == "127.0.0.1"
        assert len(one.url.split("/")[3]) >= 32
        assert one.url.split("/")[3] != other.url.split("/")[3]
        assert one.url.split("/")[3] not in repr(one)
        with pytest.raises(urllib.error.HTTPError, match="403") as refused:
            get(one.url.replace(one.url.split("/")[3], other.url.split("/")[3]))
        refused.value.close()
        assert "No runs yet" in get(one.url)


def test_small_answers_are_not_held_back(db):
    # asyncio sees to it where the socket says that it is TCP: Nagle's algorithm costs 40 ms an answer.
    with inmem.ui.start(db) as explorer:
        assert explorer._socket.proto == socket.IPPROTO_TCP


def test_it_stops_cleanly_and_leaves_the_database_open(db):
    before = ours()
    explorer = inmem.ui.start(db)
    port = explorer._socket.getsockname()[1]
    get(explorer.url)
    explorer.stop()
    explorer.stop()
    explorer.wait()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert ours() <= before
    db.put("run", "k", 1)


def test_it_stops_while_something_is_being_found_out(db):
    db.events.append_many("run", [("e", at) for at in range(5_000)])
    before = ours()
    explorer = inmem.ui.start(db)
    get(f"{explorer.url}chain?run=run&go=5000")
    explorer.stop()
    assert ours() <= before


def test_a_port_that_is_taken_is_an_error_of_the_caller(tmp_path):
    inmem.open(tmp_path / "db").close()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use; take another port, or 0 for a free one") as caught:
            inmem.ui.start(tmp_path / "db", port=port)
    # Where it is put, a command says it before the reason.
    assert caught.value.filename == f"127.0.0.1:{port}"
    for port in (-1, 65536, "80", True):
        with pytest.raises(inmem.UsageError, match=r"^port: "):
            inmem.ui.start(tmp_path / "db", port=port)
    with pytest.raises(inmem.DatabaseNotFoundError):
        inmem.ui.start(tmp_path / "none")


def test_commits_of_this_process_are_shown_at_once(db):
    with inmem.ui.start(db) as explorer:
        for at in range(5):
            version = db.events.append("run", "e", {"n": at}) and db.version
            assert version_at(explorer.url) == version
            assert f'data-key="{at}"' in get(f"{explorer.url}events?run=run")


def test_readers_and_writers_do_not_disturb_each_other(db):
    done = threading.Event()
    failures = []

    def write():
        at = 0
        while not done.is_set():
            at += 1
            db.events.append("run", "e", at)
            db.cells.set("run", "at", at)

    def read(pages):
        try:
            for page in pages:
                get(explorer.url + page)
        except Exception as error:  # noqa: BLE001  whatever it is, it is what this test is about
            failures.append(error)

    db.begin_run("run")
    with inmem.ui.start(db) as explorer:
        pages = ["runs", "events?run=run&from=end", "state?run=run", "about?run=run", "version", "chain?run=run&go=1"]
        writer = threading.Thread(target=write)
        readers = [threading.Thread(target=read, args=(pages * 4,)) for _ in range(4)]
        for thread in (writer, *readers):
            thread.start()
        for reader in readers:
            reader.join()
        done.set()
        writer.join()
    assert failures == []
    assert db.verify().is_valid


def test_commits_of_another_process_are_shown_soon(tmp_path, monkeypatch):
    monkeypatch.setattr(source_module, "_REST_S_MIN", 0)
    monkeypatch.setattr(looking_pace, "_RESTS_PER_LOOK", 0)
    with inmem.open(tmp_path / "db", durability="never") as owner:
        owner.events.append("run", "e", "first")
        with inmem.ui.start(tmp_path / "db") as explorer:
            assert "first" in get(f"{explorer.url}events?run=run")
            for at in range(3):
                owner.events.append("run", "e", f"later {at}")
                if at == 1:
                    owner.checkpoint()
                while version_at(explorer.url) < owner.version:
                    pass
                assert f"later {at}" in get(f"{explorer.url}events?run=run")
        owner.put("run", "k", 1)
    # The explorer has held nothing of it back.
    with inmem.open(tmp_path / "db") as owner:
        assert owner.get("run", "k") == 1


def test_what_was_read_stays_good_when_the_folder_cannot_be_read_any_more(tmp_path, monkeypatch):
    monkeypatch.setattr(source_module, "_REST_S_MIN", 0)
    monkeypatch.setattr(looking_pace, "_RESTS_PER_LOOK", 0)
    with inmem.open(tmp_path / "db") as owner:
        owner.events.append("run", "e", "first")
        source = source_module.Source(tmp_path / "db")
        [log] = [path for path in (tmp_path / "db").iterdir() if path.name.endswith("1.wal")]
        owner.events.append("run", "e", "second")
        owner.events.append("run", "e", "third")
    content = log.read_bytes()
    log.write_bytes(content.replace(b"second", b"damage"))
    refreshed(source)
    assert source.database.events.len("run") == 1
    assert log.name in source.trouble
    log.write_bytes(content)
    refreshed(source)
    assert source.database.events.len("run") == 3
    assert source.trouble is None
    source.close()
    source.refresh()
    with pytest.raises(inmem.DatabaseClosedError):
        source.database.events.len("run")


@pytest.mark.parametrize("name", ["db", "d\u202eb"])
def test_the_explorer_says_why_it_reads_nothing_new(name, tmp_path, monkeypatch):
    monkeypatch.setattr(source_module, "_REST_S_MIN", 0)
    monkeypatch.setattr(looking_pace, "_RESTS_PER_LOOK", 0)
    path, away = tmp_path / name, tmp_path / "away"
    with inmem.open(path) as owner:
        owner.put("run", "k", 1)
    with inmem.ui.start(path) as explorer:

        def answer():
            return json.loads(get(f"{explorer.url}version"))

        read = answer()
        assert read["trouble"] is None
        path.rename(away)
        while (lost := answer())["trouble"] is None:
            pass
        # Where the folder was is said so that it can be read.
        assert lost["version"] == read["version"]
        assert repr(str(path))[1:-1] in lost["trouble"]
        away.rename(path)
        while answer() != read:
            pass


def test_a_page_opened_after_a_pause_shows_what_was_written_meanwhile_or_why_it_cannot(tmp_path, monkeypatch):
    # However busy the machine is, the page does not give up before that.
    monkeypatch.setattr(desk_module, "PAGE_WAITS_S_MAX", 60)
    path, away = tmp_path / "d\u202eb", tmp_path / "away"
    with inmem.open(path, durability="never") as owner:
        owner.begin_run("one")
        site = Site(path)
        owner.begin_run("two")
        shown = site.get("runs")
        assert shown.rows == ["two", "one"]
        assert "not read since" not in shown.html
    path.rename(away)
    site.source._not_before_s = 0.0
    shown = site.get("runs")
    assert shown.rows == ["two", "one"]
    assert "not read since version 2: " in shown.text
    assert repr(str(path))[1:-1] in shown.text
    away.rename(path)
    site.source._not_before_s = 0.0
    assert "not read since" not in site.get("runs").text
    site.close()


def refreshed(source):
    """Have the source read on, and wait until it has."""
    source.refresh()
    while source._refreshing is not None:
        pass


def environment():
    found_in = str(Path(inmem.__file__).parent.parent)
    return {**os.environ, "PYTHONPATH": found_in}


def test_the_command_prints_the_address_and_ctrl_c_ends_it(tmp_path):
    with inmem.open(tmp_path / "db") as db:
        db.runs.create_run("run-of-the-command")
    command = [sys.executable, "-m", "inmem", "ui", str(tmp_path / "db")]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    url = process.stdout.readline().strip()
    assert url.startswith("http://127.0.0.1:")
    assert "run-of-the-command" in get(url)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (0, "", "")


def test_the_command_opens_a_browser_only_if_told_to(tmp_path, monkeypatch):
    from click.testing import CliRunner

    from inmem.cli.app import app

    inmem.open(tmp_path / "db").close()
    opened, pages = [], []

    def open_in_browser(address):
        page = Path(urllib.request.url2pathname(address.removeprefix("file://")))
        assert (page.stat().st_mode & 0o777, page.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        opened.append(address)
        pages.append((page, page.read_text()))

    monkeypatch.setattr("webbrowser.open", open_in_browser)
    monkeypatch.setattr(inmem.ui.Explorer, "wait", lambda self: None)
    for options, count in (((), 0), (("--open",), 1)):
        result = CliRunner().invoke(app, ["ui", str(tmp_path / "db"), *options])
        assert result.exit_code == 0
        assert len(opened) == count
    # Every user of the machine can read what a browser is started with: the secret is in a file of ours instead.
    url = result.output.strip()
    [(page, text)] = pages
    assert url.split("/")[3] not in opened[0]
    assert f'content="0; url={url}"' in text
    assert not page.parent.exists()


def test_without_the_extra_it_says_what_is_missing(tmp_path):
    inmem.open(tmp_path / "db").close()
    hide = "import sys; sys.modules['starlette'] = None; from inmem.__main__ import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", hide, "ui", str(tmp_path / "db")],
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "inmem: error: the explorer needs jinja2, starlette and uvicorn: pip install '.[cli,ui]' in a clone of inmem\n"
    )


def test_serving_ends_with_ctrl_c_and_stops_what_it_has_started(db, monkeypatch):
    urls = []

    def interrupted(explorer):
        assert "No runs yet" in get(explorer.url)
        raise KeyboardInterrupt

    monkeypatch.setattr(inmem.ui.Explorer, "wait", interrupted)
    inmem.ui.serve(db, on_start=urls.append)
    with pytest.raises(urllib.error.URLError):
        get(urls[0])
