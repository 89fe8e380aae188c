"""Options that take a number of something."""

from __future__ import annotations

from typing import Any

import click

from inmem.engine.limits import INT_MAX


class _CountType(click.IntRange):
    """A number of at least 0. That it also has a greatest one is not worth its digits in the help."""

    def __init__(self) -> None:
        super().__init__(min=0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse here, where the option is known, what the store would refuse."""
        count: int = super().convert(value, param, ctx)
        if count > INT_MAX:
            self.fail(f"{count} is more than {INT_MAX}.", param, ctx)
        return count


count_type = _CountType()
limit_option = click.option("--limit", type=count_type, metavar="N", help="Show at most N.")
