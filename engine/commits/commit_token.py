"""What names a commit whose end is not known, to whoever asks for it later, perhaps in another process."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from inmem.engine.errors import UsageError
from inmem.engine.shown import shown

if TYPE_CHECKING:
    from typing import Self

_FORM: Final = re.compile("([0-9a-f]{1,16})-([0-9]{1,20})-([0-9]{1,20})")


class CommitToken(NamedTuple):
    """Names one commit of one database; `str` is how a `CommitOutcomeUnknownError` carries it.

    Attributes:
        salt: of the opening that took the commit.
        transaction_id: of the commit.
        start_version: at which its transaction began: it can only have committed behind it.
    """

    salt: int
    transaction_id: int
    start_version: int

    @classmethod
    def parse(cls, token: str) -> Self:
        """Return what `str` was made of.

        Raises:
            UsageError: it is no token.
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
