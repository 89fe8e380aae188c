"""Who runs the actors: mailboxes, the dispatchers that empty them, futures, and what every actor has in common."""
