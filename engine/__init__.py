"""How the store keeps its data: keys, values, tables, transactions, log format. Pure: no I/O, no threads, no clock."""
