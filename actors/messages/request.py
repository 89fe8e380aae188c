"""What all requests to primitive actors share: they are sealed at the edge.

When a request is made, its arguments are checked and its values encoded, in the caller's thread. So a bad argument
raises at the call, and what the caller changes afterwards does not change the request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from inmem.engine.keys import normalize_run_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Request:
    """Base of all requests: frozen slotted dataclasses whose fields named in `EDGE` are converted when made."""

    __slots__ = ()

    EDGE: ClassVar[Mapping[str, Callable[..., object]]] = {"run": normalize_run_id}

    def __post_init__(self) -> None:
        for name, convert in self.EDGE.items():
            object.__setattr__(self, name, convert(getattr(self, name)))
