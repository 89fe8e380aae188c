"""The store's log events, as seen by an application that has configured structlog; the fixture `events` collects them.

A test that stores `SECRET` as a value need not look for it in the log: the fixture does so after the test.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SECRET = "secret 7f0c5b"

LogEvents = list[tuple[str, str, dict[str, Any]]]
"""(level, event, facts) of each log event, in order."""


@contextmanager
def captured_events() -> Iterator[LogEvents]:
    """Collect what the store logs in the block; at the end, check that nothing shows `SECRET`."""
    import structlog

    seen: LogEvents = []

    def capture(_logger: Any, level: str, event: Any) -> Any:
        seen.append((level, event.pop("event"), event))
        raise structlog.DropEvent

    structlog.configure(processors=[capture])
    try:
        yield seen
    finally:
        structlog.reset_defaults()
    assert SECRET not in repr(seen)
    assert not any("exc_info" in facts for _, _, facts in seen), "some processors show the variables of its frames"


def facts(events: LogEvents, name: str) -> list[dict[str, Any]]:
    """Return the facts of every event with a name."""
    return [facts for _, event, facts in events if event == name]


def told(events: LogEvents, level: str, name: str) -> list[dict[str, Any]]:
    """Return the facts of every event with a name, and check that each was logged at the documented `level`."""
    assert {at for at, event, _ in events if event == name} <= {level}
    return facts(events, name)


def raised(fact: dict[str, Any], error: type[BaseException]) -> bool:
    """Return whether the facts contain the traceback of an error of that type."""
    text: str = fact["exception"]
    return text.startswith("Traceback ") and error.__name__ in text.splitlines()[-1]
