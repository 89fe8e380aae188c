"""A database's folder on a real file system: its files, its lock, and how it is opened, continued and followed."""
