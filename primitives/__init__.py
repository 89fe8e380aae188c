"""The semantics of each primitive: its types, and its operations on a transaction. Pure: no I/O, threads or clock."""
