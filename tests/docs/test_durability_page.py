"""docs/durability.md lists every log event of the store, at its level."""

import re
from pathlib import Path

import inmem

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "durability.md").read_text(encoding="utf-8")
_CALL = re.compile(r"\blog\.(info|warning|error)\(\s*(.+?)[,)]", re.DOTALL)
_ROW = re.compile(r"^\| (`\w+`(?:, `\w+`)*) \| (info|warning|error) \|", re.MULTILINE)


def logged() -> set[tuple[str, str]]:
    """Return (event, level) for every event that the sources log; an expression may name several."""
    events: set[tuple[str, str]] = set()
    for source in Path(inmem.__path__[0], "actors").rglob("*.py"):
        for level, event in _CALL.findall(source.read_text(encoding="utf-8")):
            names = re.findall(r'"(\w+)"', event)
            assert names, f"{source.name}: which event is {event}?"
            events |= {(name, level) for name in names}
    return events


def test_every_log_event_is_listed_and_no_other():
    listed = {(name, level) for names, level in _ROW.findall(PAGE) for name in re.findall(r"\w+", names)}
    assert listed == logged()


def test_events_are_logged_by_actors_alone():
    root = Path(inmem.__path__[0])
    elsewhere = [path for path in root.rglob("*.py") if "actors" not in path.relative_to(root).parts]
    assert elsewhere
    assert not [path for path in elsewhere if "QuietLogger" in path.read_text(encoding="utf-8")]
