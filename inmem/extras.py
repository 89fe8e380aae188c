"""Report which extra is missing when one of its packages cannot be imported."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator


UI_PACKAGES: Final = ("jinja2", "markupsafe", "starlette", "uvicorn")
"""The packages of the extra ui. The command line has its own message for when one is missing."""


@contextmanager
def needing(extra: str, *packages: str) -> Generator[None]:
    """Wrap the imports of an extra: if one of its packages is missing, the error says how to install the extra.

    Raises:
        ModuleNotFoundError: as usual, including its `name`, but with a message that says what to install.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in packages:
            raise
        message = f"{error.name} is not installed: pip install '.[{extra}]' in a clone of inmem"
        raise ModuleNotFoundError(message, name=error.name) from None
