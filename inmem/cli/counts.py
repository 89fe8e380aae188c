"""Options that take a count."""

from __future__ import annotations

from typing import Any

import click

from inmem.engine.limits import INT_MAX


class _CountType(click.IntRange):
    """A number of at least 0. It also has a maximum, which would only clutter the help."""

    def __init__(self) -> None:
        super().__init__(min=0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse a number that the store would refuse, here where the error can name the option."""
        count: int = super().convert(value, param, ctx)
        if count > INT_MAX:
            self.fail(f"{count} is more than {INT_MAX}.", param, ctx)
        return count


count_type = _CountType()
limit_option = click.option("--limit", type=count_type, metavar="N", help="Show at most N.")
