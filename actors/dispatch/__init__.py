"""What runs the actors: mailboxes, the dispatchers that empty them, futures, and what all actors have in common."""
