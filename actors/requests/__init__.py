"""One actor per primitive, which turns single requests into commits."""
