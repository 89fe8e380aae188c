"""The error that all checkers raise."""

from __future__ import annotations


class BrokenPromise(AssertionError):  # noqa: N818  (a finding; pytest shows it as a failure)
    """The store did something that it promises never to do."""

    __module__ = "inmem.simulation"  # where it is imported from
