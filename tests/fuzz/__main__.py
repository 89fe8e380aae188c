"""Coverage-guided fuzzing, with atheris, of the code that reads files and values.

    make fuzz FUZZ_ARGS="log -max_total_time=600"

The first argument names the target; the others are passed to libFuzzer. Useful inputs are kept in build/fuzz/TARGET,
from where the next run continues. A failing input is written there as crash-…, and becomes a regression test.
"""

# ruff: noqa: T201  (it tells whoever started it where it works)

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["inmem.engine", "inmem.primitives"]):
    from tests.fuzz.targets import TARGETS
from tests.fuzz.corpus import seeds

ROOT = Path(__file__).parents[2]


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python -m tests.fuzz {'|'.join(TARGETS)} [libFuzzer options]")
    target, *options = sys.argv[1:]
    folder = ROOT / "build" / "fuzz" / target
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(target)):
        (corpus / f"seed-{number:03d}").write_bytes(seed)
    print(f"fuzzing {target}; corpus and findings are in {folder}", flush=True)
    defaults = [f"-artifact_prefix={folder}/", "-max_len=4096", "-rss_limit_mb=1024", "-timeout=10"]
    atheris.Setup([sys.argv[0], *defaults, *options, str(corpus)], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
