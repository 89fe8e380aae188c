from collections.abc import Iterator

import pytest

from tests.crash.nursery import Nursery, nursery


@pytest.fixture(scope="session")
def victims() -> Iterator[Nursery]:
    with nursery() as opened:
        yield opened
