"""From a transaction to the published snapshot: what it reads and writes, who conflicts, in which order commits go."""
