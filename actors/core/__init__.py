"""The actors that every commit goes through, the coordinator first, and how they are built, kept alive and rebuilt."""
