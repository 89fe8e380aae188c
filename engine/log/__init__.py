"""The files of a database: their byte layouts, and how they are written, read, followed, verified and salvaged."""
