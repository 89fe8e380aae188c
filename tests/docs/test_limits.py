"""The limits that the pages name are those of the code."""

import re
from pathlib import Path

import pytest

from inmem.actors import options
from inmem.engine import limits
from inmem.engine.checkpoint_format import BLOCK_BYTES

ROOT = Path(__file__).resolve().parents[2]
_ROW = re.compile(r"^\| (.+?) \| (.+?) \| `(\w+)` \|$", re.MULTILINE)
ROWS = {constant: stated for _, stated, constant in _ROW.findall((ROOT / "README.md").read_text(encoding="utf-8"))}
_NO_LIMITS_OF_USERS = {"INT_MAX", "FRAME_BYTES_MAX", "_COUNT_MAX"}
LIMITS = {
    name: value for name, value in vars(limits).items() if name.endswith("_MAX") and name not in _NO_LIMITS_OF_USERS
}
LIMITS["SHARDS_MAX"] = options.SHARDS_MAX


def in_words(value: int) -> str:
    return f"{value // 2**20} MiB" if value % 2**20 == 0 else f"{value:,}"


@pytest.mark.parametrize("name", LIMITS)
def test_the_readme_states_the_limit(name):
    assert re.match(rf"{re.escape(in_words(LIMITS[name]))}\b", ROWS[name])


def test_the_readme_states_no_other_limit():
    assert ROWS.keys() == LIMITS.keys()


def test_the_log_format_states_the_size_of_a_block():
    page = (ROOT / "docs" / "log-format.md").read_text(encoding="utf-8")
    assert f"the entry that brings it to about {BLOCK_BYTES // 1024} KiB" in page
