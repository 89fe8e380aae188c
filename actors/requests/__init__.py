"""One actor per primitive, which makes commits of single requests."""
