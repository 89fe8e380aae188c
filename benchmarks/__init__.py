"""The benchmark program: `python -m benchmarks`. See README.md in this folder."""
