"""The store's log events, as an application sees them that has configured structlog. The fixture `events` keeps them.

A test that plants `SECRET` as a value need not look for it: the fixture does, when the test is over.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SECRET = "secret 7f0c5b"

LogEvents = list[tuple[str, str, dict[str, Any]]]
"""(level, event, facts) of each, in order."""


@contextmanager
def captured_events() -> Iterator[LogEvents]:
    """Collect what the store logs meanwhile; afterwards none of it may show `SECRET`."""
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
    """Return the facts of every event of that name."""
    return [facts for _, event, facts in events if event == name]


def told(events: LogEvents, level: str, name: str) -> list[dict[str, Any]]:
    """Return the same, for an event that the page lists at `level`: it must not have come at another one."""
    assert {at for at, event, _ in events if event == name} <= {level}
    return facts(events, name)


def raised(fact: dict[str, Any], error: type[BaseException]) -> bool:
    """Return whether a fact has the traceback of such an error."""
    text: str = fact["exception"]
    return text.startswith("Traceback ") and error.__name__ in text.splitlines()[-1]
