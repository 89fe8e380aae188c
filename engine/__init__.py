"""The core of the store: keys, values, tables, transactions, log format. Pure: no I/O, no threads, no clock."""
