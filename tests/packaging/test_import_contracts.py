"""The import contracts notice each kind of violation: a contract that cannot fail protects nothing."""

import subprocess
import sys
from pathlib import Path

import pytest


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()"]
    options = ["--no-cache", "--no-logo"]
    return subprocess.run([*command, *options], cwd=folder, check=False, capture_output=True, text=True)


def test_the_code_keeps_every_contract(checkout_copy):
    result = lint_imports(checkout_copy)

    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "statement", "contract"),
    [
        ("engine/planted.py", "import inmem.primitives.neighbour", "imports point down"),
        ("primitives/planted.py", "from inmem.actors import neighbour", "imports point down"),
        ("actors/planted.py", "from inmem import neighbour", "nothing below the front door knows it"),
        ("engine/planted.py", "import inmem", "nothing below the front door imports the bare package"),
        ("engine/planted.py", "import time", "engine and primitives are pure"),
        ("primitives/planted.py", "from threading import Lock", "engine and primitives are pure"),
        ("primitives/planted.py", "import pykka", "engine and primitives are pure"),
        ("inmem/planted.py", "from pykka import ActorRef", "only the actors know pykka"),
        ("inmem/integrations/planted.py", "import inmem.primitives.neighbour", "the adapters use public names only"),
    ],
)
def test_a_violation_breaks_its_contract(checkout_copy, module, statement, contract):
    for folder in ("inmem", "actors", "primitives"):
        (checkout_copy / folder / "neighbour.py").write_text("", encoding="utf-8")
    (checkout_copy / module).write_text(f"{statement}\n", encoding="utf-8")

    result = lint_imports(checkout_copy)

    assert result.returncode == 1, result.stdout + result.stderr
    broken = [line for line in result.stdout.splitlines() if " BROKEN" in line]
    assert any(line.startswith(contract) for line in broken), result.stdout
