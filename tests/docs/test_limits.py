"""The limits that the pages name are those of the code."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from inmem.actors import options
from inmem.actors.core.log_writer import SLOW_SYNC_S
from inmem.aio.port import REQUESTS_UNDER_WAY_MAX, REQUESTS_WAITING_MAX
from inmem.cli.progress import PATIENCE_S
from inmem.engine import limits
from inmem.engine.commits.request_groups import GROUP_REQUESTS_MAX
from inmem.engine.log.checkpoint_format import BLOCK_BYTES
from inmem.engine.log.group_commit import SEGMENT_BYTES_MAX, SEGMENTS_MAX
from inmem.engine.log.recovery_progress import PROGRESS_BYTES
from inmem.engine.outcomes import OUTCOMES_MAX

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\| .+? \| (.+?) \| .+ \| `(\w+_MAX)` \|$", re.MULTILINE)
ROWS = {constant: stated for stated, constant in _ROW.findall(PAGE)}
_NO_LIMITS_OF_USERS = {"INT_MAX", "FRAME_BYTES_MAX", "_COUNT_MAX"}
_CHOSEN = {field.name.upper() for field in fields(limits.Limits)}
"""Those that can be chosen at opening: test_options_page.py looks at them."""
LIMITS = {
    name: value
    for name, value in vars(limits).items()
    if name.endswith("_MAX") and name not in _NO_LIMITS_OF_USERS | _CHOSEN
}


IN_PARTS = {0.5: "half a second"}


def in_words(value: int) -> str:
    return f"{value // 2**20} MiB" if value % 2**20 == 0 else f"{value:,}"


@pytest.mark.parametrize("name", LIMITS)
def test_the_page_states_the_limit(name):
    assert re.match(rf"(1 to )?{re.escape(in_words(LIMITS[name]))}\b", ROWS[name])


def test_the_page_states_no_other_limit():
    assert ROWS.keys() == LIMITS.keys()


def test_the_page_states_how_many_shards_there_may_be():
    assert f"| `shards` | `1` | 1 to {options.SHARDS_MAX} |" in PAGE


@pytest.mark.parametrize(
    "stated",
    [
        f"A value may have {in_words(limits.VALUE_BYTES_MAX)}",
        f"a key {in_words(limits.USER_KEY_BYTES_MAX)} bytes",
        f"a transaction {in_words(limits.TRANSACTION_BYTES_MAX)}",
    ],
)
def test_the_readme_states_the_limits_that_most_ask_for(stated):
    assert stated in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_log_format_states_the_size_of_a_block():
    page = (ROOT / "docs" / "log-format.md").read_text(encoding="utf-8")
    assert f"the entry that brings it to about {BLOCK_BYTES // 1024} KiB" in page


@pytest.mark.parametrize(
    ("page", "stated"),
    [
        ("transactions.md", f"The newest {in_words(OUTCOMES_MAX)} commits are remembered for that"),
        ("options.md", f"the outcomes of the last {in_words(OUTCOMES_MAX)}"),
        ("options.md", f"{in_words(GROUP_REQUESTS_MAX)} requests share a commit"),
        ("options.md", f"a segment of the log ends after {in_words(SEGMENT_BYTES_MAX)}"),
        ("durability.md", f"when a log segment has grown past {in_words(SEGMENT_BYTES_MAX)}"),
        ("durability.md", f"has found more than {SEGMENTS_MAX} of them"),
        ("operations.md", f"when openings have left more than {SEGMENTS_MAX} of them"),
        ("durability.md", f"every {in_words(PROGRESS_BYTES)} that an opening has read"),
        ("durability.md", f"a sync took more than {IN_PARTS[SLOW_SYNC_S]}"),
        ("cli.md", f"anything that takes longer than {IN_PARTS[PATIENCE_S]}"),
        ("asyncio.md", f"{in_words(REQUESTS_UNDER_WAY_MAX)} requests of a loop are with the store at a time"),
        ("asyncio.md", f"{in_words(REQUESTS_WAITING_MAX)} may wait"),
    ],
)
def test_the_pages_state_what_is_bounded_inside(page, stated):
    assert stated in (ROOT / "docs" / page).read_text(encoding="utf-8")
