"""The whole database at one version, as an immutable value that any thread reads without locks or messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from inmem.engine.errors import InvariantError
from inmem.engine.keys import TAGS, shard_of
from inmem.engine.tables.persistent_map import PersistentDict, persistent
from inmem.engine.tables.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

TableId: TypeAlias = tuple[str, int]
"""(run id, type tag)."""

Root: TypeAlias = PersistentDict[TableId, Table]
"""The tables of one shard."""


def tables_of(root: Root, run: str) -> dict[TableId, Table]:
    """Return the run's tables in the root, including those with tags unknown to this code. O(tags)."""
    ids = [(run, tag) for tag in TAGS]
    return {table_id: table for table_id in ids if (table := root.stored(table_id)) is not None}


def without_run(root: Root, run: str) -> Root:
    """Return the root without any table of the run. O(tags)."""
    return root.changed({}, {**tables_of(root, run)})


class Snapshot(Struct, frozen=True, eq=False):
    """Every commit up to `version` and nothing later. Created in O(1): it only refers to the roots.

    Attributes:
        version: the version of the newest commit in the snapshot.
        roots: one root per shard; all tables of a run are in the root whose index `shard_of` returns.
    """

    version: int
    roots: tuple[Root, ...]

    @classmethod
    def empty(cls, shards: int) -> Snapshot:
        """Return the snapshot of a database to which nothing was ever written."""
        return cls(0, tuple([persistent({}) for _ in range(shards)]))

    def table(self, run: str, tag: int) -> Table | None:
        """Return the run's table for the tag, or None if nothing was ever written to it. O(1)."""
        roots = self.roots
        root = roots[0] if len(roots) == 1 else roots[shard_of(run, len(roots))]
        table_id = run, tag
        # What `stored` does, without the call: every read outside a transaction comes through here.
        table = root.newest.get(table_id)
        return table if root.past.state is None else root.as_it_was(table_id, table)

    def tables(self) -> Iterator[tuple[str, int, Table]]:
        """Iterate over (run, tag, table) in key order. O(t log t) for t tables."""
        # UTF-8 preserves code point order, so run ids sort in the same order as their encoded keys.
        tables = {table_id: table for root in self.roots for table_id, table in root.as_dict().items()}
        for run, tag in sorted(tables):
            yield run, tag, tables[run, tag]

    def check(self) -> None:
        """Raise InvariantError unless each table is sound, in the right shard and not too new. O(n)."""
        if not self.roots:
            raise InvariantError("a snapshot without shards")
        for shard, root in enumerate(self.roots):
            for (run, tag), table in root.as_dict().items():
                table.check()
                home = shard_of(run, len(self.roots))
                if home != shard:
                    raise InvariantError(f"table ({run!r}, {tag}) of shard {home} is in {shard}")
                if table.last_version > self.version:
                    raise InvariantError(f"table ({run!r}, {tag}) is at {table.last_version}, past {self.version}")
