"""Keys and values in memory: persistent tables in key order, and snapshots of the whole database."""
