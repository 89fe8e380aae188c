"""The benchmarks run: they write files of the store's own formats by hand, and follow its names like any other code."""

from pathlib import Path

import pytest

from benchmarks.__main__ import SUBJECTS
from benchmarks.measure import Settings

SLOW = {"memory", "tails", "import", "recovery-checkpoint", "begin", "scan"}
"""Those that take seconds, whatever the settings, to fill a store."""


@pytest.mark.parametrize("name", [name for name in SUBJECTS if name not in SLOW and not name.startswith("growth")])
def test_a_subject_can_be_measured(name: str, tmp_path: Path) -> None:
    result = SUBJECTS[name].run(Settings(tmp_path, rounds=1, seconds=0.01, quick=True))
    assert result.figures
    for figure in result.figures:
        # Nothing takes no time, and nothing stands still; of conflicts there may be none.
        assert figure.median > 0 or (name == "conflicts" and figure.median == 0), figure.name
