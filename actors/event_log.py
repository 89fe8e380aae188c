"""Log events of the store: structured, and silent unless the application has configured structlog."""

from __future__ import annotations

import sys
import traceback
from typing import Any


class QuietLogger:
    """Passes events on to structlog if the application has configured it, and drops them otherwise.

    An embedded store must not write to the program's terminal unasked. No event carries the content of a value. For
    that reason a traceback is passed on as text, formatted as by structlog's own `format_exc_info`: given the exception
    itself, some processors would add the variables of its frames, among them the messages being handled.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def info(self, event: str, **facts: Any) -> None:
        """Log something worth knowing."""
        self._log("info", event, facts)

    def warning(self, event: str, **facts: Any) -> None:
        """Log something that the operator of the program should look at."""
        self._log("warning", event, facts)

    def error(self, event: str, **facts: Any) -> None:
        """Log a failure."""
        self._log("error", event, facts)

    def _log(self, level: str, event: str, facts: dict[str, Any]) -> None:
        # An application that has configured structlog has imported it. The store does not: that takes a while, and
        # brings asyncio and more along.
        structlog = sys.modules.get("structlog")
        if structlog is None or not structlog.is_configured():
            return
        try:
            error: BaseException | None = facts.pop("exc_info", None)
            if error is not None:
                facts["exception"] = "".join(traceback.format_exception(error)).rstrip()
            getattr(structlog.get_logger(self._name), level)(event, **facts)
        except Exception as broken:  # noqa: BLE001  (the application's logging is broken, the store is not)
            sys.excepthook(type(broken), broken, broken.__traceback__)
