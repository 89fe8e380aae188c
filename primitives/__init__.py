"""What each primitive means: its types, and its operations on a transaction. Pure: no I/O, no threads, no clock."""
