"""The token of a commit with unknown outcome, with which a caller can ask later, perhaps in another process."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from inmem.engine.errors import UsageError
from inmem.engine.shown import shown

if TYPE_CHECKING:
    from typing import Self

_FORM: Final = re.compile("([0-9a-f]{1,16})-([0-9]{1,20})-([0-9]{1,20})")


class CommitToken(NamedTuple):
    """Identifies one commit of one database. `CommitOutcomeUnknownError` carries it in its `str` form.

    Attributes:
        salt: the salt of the opening of the database that received the commit.
        transaction_id: the commit's transaction id.
        start_version: the version at which the transaction began; its commit version, if any, is higher.
    """

    salt: int
    transaction_id: int
    start_version: int

    @classmethod
    def parse(cls, token: str) -> Self:
        """Return the token whose `str` form is `token`.

        Raises:
            UsageError: `token` is not the `str` form of a token.
        """
        try:
            matched = _FORM.fullmatch(token)
        except TypeError:
            matched = None
        if matched is None:
            raise UsageError(f"token: {shown(token)} is not the token of a CommitOutcomeUnknownError")
        return cls(int(matched[1], 16), int(matched[2]), int(matched[3]))

    def __str__(self) -> str:
        return f"{self.salt:016x}-{self.transaction_id}-{self.start_version}"
