"""The demonstration of `inmem demo`, and its transcripts."""
