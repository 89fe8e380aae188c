"""What `inmem demo` shows, and the transcripts that it shows it on."""
