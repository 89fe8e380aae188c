"""Python frames: whose code they run, and where it is."""

from __future__ import annotations

import linecache
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType

PYTEST: Final = "_pytest"
"""The package that raises pytest's own failures. The failures of every `pytest.raises` come from one line of it."""

_NOT_THEIRS: Final = sys.stdlib_module_names | {"inmem", "pykka", PYTEST}
"""Packages whose frames say less about what broke, or where a client is, than the frame that called them."""


def package_of(frame: FrameType) -> str:
    """Return the name of the top-level package of the frame's code."""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def is_theirs(frame: FrameType) -> bool:
    """Return whether the frame runs the user's code: the scenario, or a package that it has brought along."""
    return package_of(frame) not in _NOT_THEIRS


def line_of(frame: FrameType, line: int) -> str:
    """Return ``file:line, in function: source``."""
    code = frame.f_code
    source = linecache.getline(code.co_filename, line, frame.f_globals).strip()
    return f"{code.co_filename}:{line}, in {code.co_name}" + (f": {source}" if source else "")
