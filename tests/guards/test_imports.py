"""What `import inmem` brings with it: every millisecond is paid by every short program that uses the store."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import inmem
import inmem.engine
import inmem.primitives

FOREIGN = (
    "click",
    "rich",
    "matplotlib",
    "asyncio",
    "multiprocessing",
    "opentelemetry",
    "http",
    "ssl",
    "sqlite3",
    "hypothesis",
    "pytest",
    "langgraph",
    "langchain_core",
    "agents",
    "pydantic",
)
IMPURE = (
    "asyncio", "fcntl", "logging", "mmap", "multiprocessing", "os", "pathlib", "pykka", "random", "secrets", "select",
    "shutil", "signal", "socket", "structlog", "subprocess", "tempfile", "threading", "time",
)  # fmt: skip


def imported_by(code: str) -> set[str]:
    """Return the top-level modules that an isolated interpreter has after running `code`, and had not before."""
    script = f"import sys; before = set(sys.modules)\n{code}\nprint(*sorted(set(sys.modules) - before))"
    completed = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=sys.path[0] or None
    )
    return {name.split(".")[0] for name in completed.stdout.split()}


def run_alone(code: str) -> str:
    """Return what `code` prints in an interpreter of its own."""
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=sys.path[0] or None
    ).stdout


@pytest.mark.parametrize("name", ["aio.open", "integrations.__name__", "otlp.run_to_otlp", "simulation.__name__"])
def test_a_package_of_inmem_is_imported_when_it_is_named(name):
    run_alone(f"import inmem; inmem.{name}")


def test_names_that_inmem_does_not_have():
    code = "import inmem; print(hasattr(inmem, 'nothing'), *dir(inmem))"
    assert run_alone(code).split() == [
        "False",
        *sorted({*inmem.__all__, "__version__", "aio", "integrations", "otlp", "simulation"}),
    ]


@pytest.mark.parametrize(
    ("module", "missing", "extra"),
    [
        ("ui", "starlette", "ui"),
        ("integrations.langgraph", "langgraph", "langgraph"),
        ("integrations.openai_agents", "agents", "openai-agents"),
        ("integrations.opentelemetry", "opentelemetry", "otel"),
    ],
)
def test_a_missing_extra_is_named_by_the_module_that_needs_it(module, missing, extra):
    code = f"""
import sys
sys.modules["{missing}"] = None
try:
    import inmem.{module}
except ModuleNotFoundError as error:
    print(error.name, error, sep=": ")
"""
    [name, told] = run_alone(code).rstrip().split(": ", 1)
    assert name.split(".")[0] == missing
    assert told == f"{name} is not installed: pip install '.[{extra}]' in a clone of inmem"


@pytest.fixture(scope="module")
def modules():
    return imported_by("import inmem")


@pytest.mark.parametrize("name", FOREIGN)
def test_importing_inmem_does_not_import(modules, name):
    assert name not in modules


def imports_of(path: Path) -> set[str]:
    """Return the top-level modules that a file imports anywhere, type-only imports excepted."""
    found: set[str] = set()
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            pending += node.orelse
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
        else:
            pending += ast.iter_child_nodes(node)
    return found


@pytest.mark.parametrize("package", [inmem.engine, inmem.primitives])
def test_the_pure_layers_import_nothing_that_touches_the_world(package):
    files = [path for folder in package.__path__ for path in Path(folder).rglob("*.py")]
    assert len(files) > 10
    offenders = {path.name: imports_of(path) & set(IMPURE) for path in files}
    assert not {name: modules for name, modules in offenders.items() if modules}
