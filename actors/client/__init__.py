"""What threads use a store through: its client, transactions, and the courier that sends for event loops."""
