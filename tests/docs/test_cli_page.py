"""docs/cli.md shows the help of every command as it is. After a change: python -m tests.docs.cli_page"""

import pytest

from tests.docs.cli_page import PAGE, help_of, rewritten, sections, shown_in

SHOWN = shown_in(PAGE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", sections())
def test_the_page_shows_the_help_of_a_command(name):
    # By their words: where a line ends is click's business.
    assert SHOWN[name].split() == help_of(name).split()


def test_the_page_shows_no_other_command():
    assert list(SHOWN) == sections()


def test_writing_the_help_anew_changes_nothing():
    page = PAGE.read_text(encoding="utf-8")
    assert rewritten(page).split() == page.split()
    without = page.replace(help_of("inmem runs"), "old help")
    assert rewritten(without).split() == page.split()
