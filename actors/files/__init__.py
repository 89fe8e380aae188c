"""A database's folder on a real file system: its files and its lock; opening, continuing and following its log."""
