"""Copies of the checkout for the packaging tests, so that builds leave nothing in the checkout itself."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def checkout_files() -> list[str]:
    """The files of the checkout, including new ones not yet committed; symbolic links are listed, not followed."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("needs a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    names = set(listing.split("\0")) - {""}
    return sorted(name for name in names if (ROOT / name).is_symlink() or (ROOT / name).is_file())


@pytest.fixture
def checkout_copy(checkout_files, tmp_path) -> Path:
    return _copy(checkout_files, tmp_path / "checkout")


@pytest.fixture(scope="session")
def build_folder(checkout_files, tmp_path_factory) -> Path:
    return _copy(checkout_files, tmp_path_factory.mktemp("build") / "checkout")


def _copy(names: list[str], target: Path) -> Path:
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
    return target
