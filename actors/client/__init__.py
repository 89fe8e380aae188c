"""What the threads that use a store hold: its client, transactions, and the courier that sends for event loops."""
