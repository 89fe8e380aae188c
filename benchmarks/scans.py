"""Prefix scans of 1,000 of 100,000 keys, in keys per second."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.contender import RUN, Doing, Inmem
from benchmarks.measure import Result, Settings, Subject, Target, contest
from benchmarks.peers import Lmdb, Sqlite, Zodb

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.contender import Session

KEYS = 100_000
FOUND = 1000
PREFIX = "key-00042"


def _scans(session: Session, _: int, __: int) -> Callable[[], object]:
    def scan() -> None:
        assert session.scan(PREFIX) == FOUND

    return scan


def _names(store: Inmem, _: int, __: int) -> Callable[[], object]:
    def scan() -> None:
        assert len(store.db.kv.list(RUN, PREFIX)) == FOUND

    return scan


def _validated(store: Inmem, _: int, __: int) -> Callable[[], object]:
    """Return a scan inside a transaction, which records every returned key for validation."""

    def scan() -> None:
        with store.db.begin(RUN) as txn:
            assert sum(1 for _ in txn.scan(PREFIX)) == FOUND

    return scan


def _scan(settings: Settings) -> Result:
    contenders = [
        Doing(Inmem("never", name="inmem, keys"), _names, KEYS),
        Doing(Inmem("never", name="inmem, keys and values"), _scans, KEYS),
        Doing(Inmem("never", name="inmem, in a transaction"), _validated, KEYS),
        Doing(Sqlite("NORMAL"), _scans, KEYS),
        Doing(Lmdb(sync=False), _scans, KEYS),
        Doing(Zodb(), _scans, KEYS if not settings.quick else 43_000),
    ]
    return contest(settings, contenders, unit="keys/s", scale=FOUND)


SUBJECTS = (
    Subject(
        "scan",
        "prefix scan of 1,000 of 100,000 keys",
        _scan,
        (Target("inmem, keys", at_least=500_000), Target("inmem, keys and values", at_least=500_000)),
    ),
)
