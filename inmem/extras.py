"""Saying which extra is missing where its package is imported."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator


UI_PACKAGES: Final = ("jinja2", "markupsafe", "starlette", "uvicorn")
"""What comes with the extra ui: the command line says in its own words that it is missing."""


@contextmanager
def needing(extra: str, *packages: str) -> Generator[None]:
    """Import within the block what comes with an extra; if one of its packages is missing, the error says so.

    Raises:
        ModuleNotFoundError: as ever, its `name` included, but told how to install what is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in packages:
            raise
        message = f"{error.name} is not installed: pip install '.[{extra}]' in a clone of inmem"
        raise ModuleNotFoundError(message, name=error.name) from None
