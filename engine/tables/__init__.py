"""How keys and values are held in memory: persistent tables in key order, and snapshots of all of them."""
