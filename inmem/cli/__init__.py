"""The command line: `inmem --help` lists the commands, app.py puts them together."""
