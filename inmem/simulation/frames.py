"""Frames of Python: whose code they are of, and where that is."""

from __future__ import annotations

import linecache
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType

PYTEST: Final = "_pytest"
"""The package that raises pytest's own failures: of all `pytest.raises` in the same line."""

_NOT_THEIRS: Final = sys.stdlib_module_names | {"inmem", "pykka", PYTEST}
"""Packages whose frames say less about what broke, or where a client is, than the frame that called them."""


def package_of(frame: FrameType) -> str:
    """Return the name of the topmost package of the frame's code."""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def is_theirs(frame: FrameType) -> bool:
    """Whether the frame is of the scenario, or of what it has brought along."""
    return package_of(frame) not in _NOT_THEIRS


def line_of(frame: FrameType, line: int) -> str:
    """Return ``file:line, in function: source``."""
    code = frame.f_code
    source = linecache.getline(code.co_filename, line, frame.f_globals).strip()
    return f"{code.co_filename}:{line}, in {code.co_name}" + (f": {source}" if source else "")
