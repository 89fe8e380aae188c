"""The wheel holds every file of the four code folders, once: under the one import name, but for two modules."""

import email
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

CODE_FOLDERS = ("inmem", "actors", "engine", "primitives")


@pytest.fixture(scope="module")
def distributions(build_folder) -> Path:
    """A source distribution and the wheel built from it, as an index would serve them."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist", "."]
    subprocess.run(command, cwd=build_folder, check=True, capture_output=True)
    return build_folder / "dist"


@pytest.fixture(scope="module")
def wheel(distributions):
    (path,) = distributions.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def _packaged_name(name: str) -> str:
    for folder, installed in (("inmem/pytest_plugin/", "inmem_pytest/"), ("inmem/command/", "inmem_command/")):
        if name.startswith(folder):
            return name.replace(folder, installed)
    return name if name.startswith("inmem/") else f"inmem/{name}"


def test_the_wheel_holds_exactly_the_files_of_the_code_folders(wheel, checkout_files, build_folder):
    expected = {
        _packaged_name(name)
        for name in checkout_files
        if name.split("/")[0] in CODE_FOLDERS and "/" in name and not (build_folder / name).is_symlink()
    }
    packaged = [name for name in wheel.namelist() if ".dist-info/" not in name]

    assert set(packaged) == expected
    assert len(packaged) == len(expected)
    assert "inmem/py.typed" in packaged


def test_the_source_distribution_holds_every_file_once(distributions):
    (path,) = distributions.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = [name.split("/", 1)[1] for name in archive.getnames() if "/" in name]

    assert len(names) == len(set(names))
    doubled = [name for name in names if name.startswith(("inmem/actors", "inmem/engine", "inmem/primitives"))]
    assert doubled == []


def test_the_command_begins_outside_of_the_package(wheel):
    """Below `inmem`, its first line would come when the whole store has been imported."""
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt")]
    assert "[console_scripts]\ninmem = inmem_command:main\n" in wheel.read(name).decode()


def test_every_runtime_dependency_is_bounded_on_both_sides(wheel):
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    requirements = email.message_from_bytes(wheel.read(name)).get_all("Requires-Dist", [])

    assert requirements
    unbounded = [line for line in requirements if ">=" not in line or "<" not in line]
    assert unbounded == []


def test_the_links_give_each_code_folder_its_import_name(build_folder):
    for folder in CODE_FOLDERS[1:]:
        link = build_folder / "inmem" / folder
        assert link.is_symlink()
        assert link.readlink() == Path("..") / folder


def test_what_an_earlier_build_has_left_is_not_packed(checkout_copy):
    """`pip install` of a clone leaves build/lib behind, and setuptools packs all that lies there."""
    left = checkout_copy / "build" / "lib" / "inmem" / "removed_since.py"
    left.parent.mkdir(parents=True)
    left.write_text("", encoding="utf-8")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "."]
    subprocess.run(command, cwd=checkout_copy, check=True, capture_output=True)
    (path,) = (checkout_copy / "dist").glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        assert "inmem/removed_since.py" not in archive.namelist()
        assert "inmem/database.py" in archive.namelist()
