"""The files of a database, byte by byte: how they are written, read, followed, verified and salvaged."""
