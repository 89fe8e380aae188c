"""From a transaction to the published snapshot: buffered reads and writes, conflict detection, the order of commits."""
