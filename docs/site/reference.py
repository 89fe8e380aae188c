"""The reference: which public name is described on which page. The descriptions are the docstrings.

A public name that is on no page, and one that does not say what it is for, are warnings; in strict mode, errors.
"""

import fnmatch
import logging
import re
from collections.abc import Callable
from pathlib import Path

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]

log = logging.getLogger("mkdocs.hooks.reference")

PACKAGES = (
    "inmem",
    "inmem.aio",
    "inmem.messages",
    "inmem.simulation",
    "inmem.integrations.langgraph",
    "inmem.integrations.openai_agents",
    "inmem.integrations.opentelemetry",
    "inmem.otlp",
    "inmem.ui",
)
"""What they export, in `__all__` or else by defining it, is public."""

PAGES: dict[str, tuple[str, str, list[str]]] = {
    "opening": (
        "Opening",
        "Three ways to a `Database`: [all options and limits](../options.md).",
        [
            "inmem.open",
            "inmem.spawn",
            "inmem.connect",
            "inmem.new_run_id",
            "inmem.Limits",
            "inmem.salvage",
            "inmem.DurabilityName",
            "inmem.DispatcherName",
        ],
    ),
    "database": (
        "Database",
        "What `inmem.open` and `inmem.connect` return, and what its methods answer with.",
        ["inmem.Database", "inmem.Stats", "inmem.Verification", "inmem.SalvageReport", "inmem.RunExport"],
    ),
    "transactions": (
        "Transactions",
        "What `db.transaction` hands to its function and `db.begin` returns: [how it behaves](../transactions.md).",
        [
            "inmem.Transaction",
            "inmem.BaseTransaction",
            "inmem.actors.client.run_access.RunAccess",
            "inmem.Key",
            "inmem.Isolation",
            "inmem.IsolationName",
            "inmem.TransactionStatus",
            "inmem.RetryPolicy",
            "inmem.Conflict",
            "inmem.ReadConflict",
            "inmem.WriteConflict",
            "inmem.CasConflict",
            "inmem.ScanConflict",
        ],
    ),
    "kv": (
        "KVStore",
        "`db.kv` is a `KVStore`, `txn.kv` are `KVOperations`: [examples](../primitives/kv.md).",
        [
            "inmem.KVStore",
            "inmem.primitives.kv.KVOperations",
            "inmem.VersionedValue",
            "inmem.actors.proxies.mapping.KVMapping",
            "inmem.actors.proxies.kv.KVStoreFutures",
        ],
    ),
    "events": (
        "EventLog",
        "`db.events` is an `EventLog`, `txn.events` are `EventOperations`: [examples](../primitives/events.md).",
        [
            "inmem.EventLog",
            "inmem.primitives.events.EventOperations",
            "inmem.Event",
            "inmem.ChainVerification",
            "inmem.actors.proxies.events.EventLogFutures",
        ],
    ),
    "cells": (
        "StateCell",
        "`db.cells` is a `StateCell`, `txn.cells` are `CellOperations`: [examples](../primitives/cells.md).",
        [
            "inmem.StateCell",
            "inmem.primitives.cells.CellOperations",
            "inmem.State",
            "inmem.actors.proxies.cells.StateCellFutures",
        ],
    ),
    "traces": (
        "TraceStore",
        "`db.traces` is a `TraceStore`, `txn.traces` are `TraceOperations`: [examples](../primitives/traces.md).",
        [
            "inmem.TraceStore",
            "inmem.primitives.traces.TraceOperations",
            "inmem.Trace",
            "inmem.TraceTree",
            "inmem.ToolCall",
            "inmem.Decision",
            "inmem.Query",
            "inmem.Thought",
            "inmem.ErrorTrace",
            "inmem.Custom",
            "inmem.actors.proxies.traces.TraceStoreFutures",
        ],
    ),
    "runs": (
        "RunIndex",
        "`db.runs` is a `RunIndex`, `txn.runs` are `RunOperations`: [examples](../primitives/runs.md).",
        [
            "inmem.RunIndex",
            "inmem.primitives.runs.RunOperations",
            "inmem.RunMetadata",
            "inmem.RunStatus",
            "inmem.RunStatusName",
            "inmem.RunStats",
            "inmem.actors.proxies.runs.RunIndexFutures",
        ],
    ),
    "changes": (
        "Changes",
        "`db.watch` returns a `Watcher`: [how to follow a store](../watch.md).",
        ["inmem.Watcher", "inmem.Change", "inmem.ChangeKind", "inmem.PrimitiveName"],
    ),
    "asyncio": (
        "asyncio",
        "Every method of the plain classes is a coroutine here, told of only if it differs: [examples](../asyncio.md).",
        ["inmem.aio.open", "inmem.aio.connect", "inmem.aio.Database", "inmem.aio.Transaction", "inmem.aio.*"],
    ),
    "errors": (
        "Errors",
        "[Errors](../errors.md) shows the tree, and what to do about each.",
        ["inmem.*Error"],
    ),
    "messages": (
        "Messages",
        "What the ref of `inmem.spawn` takes, by `ask` and `tell`. A message checks and copies what it is made of.",
        ["inmem.messages.*"],
    ),
    "simulation": (
        "Simulation",
        "[Testing your agents' message order](../simulation.md) tells how to use it.",
        # Named, or the page of errors would take it.
        ["inmem.simulation.*", "inmem.simulation.ScenarioError"],
    ),
    "langgraph": (
        "LangGraph",
        "Needs the extra `langgraph`. [The guide](../integrations/langgraph.md) has examples.",
        ["inmem.integrations.langgraph.*"],
    ),
    "openai_agents": (
        "OpenAI Agents SDK",
        "Needs the extra `openai-agents`. [The guide](../integrations/openai-agents.md) has examples.",
        ["inmem.integrations.openai_agents.*"],
    ),
    "opentelemetry": (
        "OpenTelemetry",
        "The exporter needs the extra `otel`, `inmem.otlp` does not: [examples](../integrations/opentelemetry.md).",
        ["inmem.integrations.opentelemetry.*", "inmem.otlp.*"],
    ),
    "ui": (
        "Run explorer",
        "Needs the extra `ui`. [The guide](../explorer.md) tells what it shows.",
        ["inmem.ui.*"],
    ),
}
"""Of each page its title, its introduction and its names, in their order; `*` stands for what is on no other page."""

NOT_FOR_MAKING = re.compile(
    r"\.(Database|(Base)?Transaction|RunAccess|Watcher|KVStore|KVMapping|EventLog|StateCell|TraceStore|RunIndex|\w+(Operations|Error))$"
)
"""Classes that only the store makes: how is its own business."""

SHORT = re.compile(r"\.messages\.\w+$|(Futures|Error|BaseTransaction|RunAccess)$")
"""Classes that say everything at their top: what their members mean is told of others."""

TWIN = re.compile(r"\.aio\.(Database|KVStore|EventLog|StateCell|TraceStore|RunIndex)$")
"""Classes of which only those members say something that differ from those of their plain twin."""

_QUOTED = re.compile(r"`(\w+)`")


def on_config(config: MkDocsConfig) -> None:
    """Put the pages into the section that is waiting for them."""
    [reference] = [section["Reference"] for section in config.nav or () if "Reference" in section]
    reference += [{title: f"reference/{name}.md"} for name, (title, _, _) in PAGES.items()]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages, and look whether they are complete."""
    package = _loaded()
    public = {f"{name}.{member}" for name in PACKAGES for member in _public(package, name)} - set(PACKAGES)

    def order(path: str) -> tuple[str, int]:
        found = package[path.removeprefix("inmem.")]
        return found.canonical_path.rpartition(".")[0], found.lineno or 0

    pages = {name: _expanded(names, public, order) for name, (_, _, names) in PAGES.items()}
    for missing in sorted(public.difference(*pages.values())):
        log.warning("%s is public and on no page of the reference: name it in docs/site/reference.py", missing)
    for name, (title, introduction, _) in PAGES.items():
        parts = [f"# {title}\n\n{introduction}\n"]
        for path in pages[name]:
            _look_at(package[path.removeprefix("inmem.")])
            parts.append(f"::: {path}\n{_options(path)}")
        files.append(File.generated(config, f"reference/{name}.md", content="\n".join(parts)))
    files.append(File.generated(config, "reference/index.md", content=_index(package, pages)))


def _loaded() -> griffe.Module:
    package = griffe.load("inmem", search_paths=[str(ROOT)], docstring_parser="google")
    if not isinstance(package, griffe.Module):
        raise TypeError("inmem is a package")
    return package


def _public(package: griffe.Module, name: str) -> list[str]:
    module = package[name.removeprefix("inmem.")] if name != "inmem" else package
    if module.exports is not None:
        return [str(member) for member in module.exports]
    return [
        member
        for member, found in module.members.items()
        if found.is_public and not found.is_alias and (found.is_class or found.is_function)
    ]


def _expanded(names: list[str], public: set[str], order: Callable[[str], tuple[str, int]]) -> list[str]:
    """Return the names, with those that a pattern stands for in its place, as they stand in their modules."""
    listed = {name for _, _, all_names in PAGES.values() for name in all_names}
    expanded: list[str] = []
    for name in names:
        expanded += sorted(fnmatch.filter(public - listed, name), key=order) if "*" in name else [name]
    return expanded


def _options(path: str) -> str:
    unwanted = {"merge_init_into_class": NOT_FOR_MAKING, "members": SHORT, "inherited_members": SHORT}
    lines = [f"      {name}: false\n" for name, pattern in unwanted.items() if pattern.search(path)]
    return "".join(["    options:\n", *lines]) if lines else ""


def _look_at(found: griffe.Object | griffe.Alias) -> None:
    """Warn of what says nothing about itself."""
    if not found.has_docstring:
        log.warning("%s has no docstring", found.path)
        return
    if not found.is_class or SHORT.search(found.path) or TWIN.search(found.path):
        return
    told = set(_QUOTED.findall(found.docstring.value)) if found.docstring else set[str]()
    for section in found.docstring.parse("google") if found.docstring else ():
        if isinstance(section, griffe.DocstringSectionAttributes | griffe.DocstringSectionParameters):
            told |= {name for described in section.value for name in described.name.split(", ")}
    for name, member in found.all_members.items():
        # What it has from outside of the package is described there.
        is_ours = member.is_public and not name.startswith("__") and member.canonical_path.startswith("inmem.")
        if is_ours and not member.has_docstring and name not in told:
            log.warning("%s.%s is not described", found.path, name)


def _index(package: griffe.Module, pages: dict[str, list[str]]) -> str:
    parts = ["# Every public name\n\nAll that may be relied on. What is not here may change without notice.\n"]
    for name, paths in pages.items():
        rows = ["| name | |", "|---|---|"]
        for path in paths:
            docstring = package[path.removeprefix("inmem.")].docstring
            first = docstring.value.partition("\n\n")[0].replace("\n", " ").replace("|", "\\|") if docstring else ""
            rows.append(f"| [`{path.rpartition('.')[2]}`][{path}] | {first} |")
        parts.append("\n".join([f"## [{PAGES[name][0]}]({name}.md)\n", *rows, ""]))
    return "\n".join(parts)
