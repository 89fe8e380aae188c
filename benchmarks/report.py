"""Reports of the results: a table on the terminal, a JSON file, plots; and the comparison of two JSON files."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.measure import Figure, Result, Settings, Subject, Target

PACKAGES = ("inmem", "pykka", "msgpack", "msgspec", "sortedcontainers", "lmdb", "ZODB", "diskcache")
CHANGE_WORTH_NOTICE = 0.1
"""Relative change between two runs below which `compare` highlights nothing, as noise alone causes more."""

console = Console()


def environment(settings: Settings) -> dict[str, Any]:
    """Return the facts, besides the code, on which the figures depend."""
    versions = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "rounds": settings.rounds,
        "seconds": settings.seconds,
        "quick": settings.quick,
        "versions": versions,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:  # noqa: PTH123  (a device, not a document)
            return next(line.split(":", 1)[1].strip() for line in cpuinfo if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def _commit() -> str:
    described = subprocess.run(["git", "describe", "--always", "--dirty"], check=False, capture_output=True, text=True)  # noqa: S607
    return described.stdout.strip() or "unknown"


def quantity(value: float, unit: str) -> str:
    """Return a value as readable text: three significant digits, or an integer with thousands separators."""
    if unit.endswith("/s") or abs(value) >= 1000:
        return f"{value:,.0f} {unit}".strip()
    return f"{value:.3g} {unit}".strip()


def judge(target: Target, figures: Sequence[Figure], *, quick: bool) -> tuple[str, bool | None]:
    """Return a target and the measured value in words, and whether it is met, or None if that cannot be judged."""
    unit = "x" if target.per else next((figure.unit for figure in figures if figure.name == target.of), "")
    bound, sign = (target.at_least, "≥") if target.at_least is not None else (target.at_most, "≤")
    words = f"{target.of} {sign} {quantity(bound or 0, unit)}" + (f" of {target.per}" if target.per else "")
    value = target.value(figures)
    if value is None:
        return f"{words}: not measured", None
    words += f": {quantity(value, unit)}"
    if target.full_only and quick:
        return f"{words}, on a smaller store than the target's", None
    return words, target.is_met(value)


def show(subject: Subject, result: Result, *, quick: bool) -> None:
    """Print the result of one subject."""
    table = Table(title=f"[bold]{subject.title}[/bold]  ({subject.name})", title_justify="left")
    if result.axis is not None:
        _add_growth(table, result)
    else:
        for column, justify in (("", "left"), ("median", "right"), ("spread", "right")):
            table.add_column(column, justify=justify)  # type: ignore[arg-type]
        for figure in result.figures:
            spread = f"± {figure.spread:.0%}" if len(figure.rounds) > 1 else ""
            table.add_row(figure.name, quantity(figure.median, figure.unit), spread)
    console.print(table)
    for target in subject.targets:
        words, met = judge(target, result.figures, quick=quick)
        mark = {True: "[green]met    [/green]", False: "[red]not met[/red]", None: "[yellow]?      [/yellow]"}[met]
        console.print(f"  {mark} {words}")
    for note in (*result.notes, *result.skipped):
        console.print(f"  [dim]{note}[/dim]")
    console.print()


def _add_growth(table: Table, result: Result) -> None:
    names = list(dict.fromkeys(figure.name for figure in result.figures))
    table.add_column(result.axis or "", justify="right")
    for name in names:
        table.add_column(name, justify="right")
    for at in dict.fromkeys(figure.at for figure in result.figures):
        cells = {f.name: quantity(f.median, f.unit) for f in result.figures if f.at == at}
        table.add_row(f"{at:,.0f}", *(cells.get(name, "") for name in names))


def as_json(facts: dict[str, Any], measured: Sequence[tuple[Subject, Result]]) -> dict[str, Any]:
    """Return all results as JSON-compatible values, for comparison with another run."""
    subjects: dict[str, Any] = {}
    for subject, result in measured:
        targets = []
        for target in subject.targets:
            words, met = judge(target, result.figures, quick=facts["quick"])
            targets.append({"target": words, "met": met})
        subjects[subject.name] = {
            "title": subject.title,
            "axis": result.axis,
            "figures": [
                {
                    "name": figure.name,
                    "unit": figure.unit,
                    "at": figure.at,
                    "median": figure.median,
                    "rounds": figure.rounds,
                }
                for figure in result.figures
            ],
            "targets": targets,
            "notes": result.notes,
            "skipped": result.skipped,
        }
    return {"format": 1, "environment": facts, "subjects": subjects}


def draw(subject: Subject, result: Result, path: Path) -> None:
    """Draw the result of one subject as a PNG file: bars, or lines on logarithmic axes for growth."""
    import matplotlib as mpl  # noqa: PLC0415  (slow to import, and only needed here)

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    height = 4.5 if result.axis else 1.2 + 0.4 * len(result.figures)
    figure, axes = plt.subplots(figsize=(8, height), layout="constrained")
    unit = result.figures[0].unit
    if result.axis is not None:
        for name in dict.fromkeys(f.name for f in result.figures):
            points = [f for f in result.figures if f.name == name]
            errors = (
                [f.median - min(f.rounds) for f in points],
                [max(f.rounds) - f.median for f in points],
            )
            axes.errorbar([f.at or 0 for f in points], [f.median for f in points], errors, marker="o", label=name)
        axes.set(xscale="log", yscale="log", xlabel=result.axis, ylabel=unit)
        axes.legend()
        axes.grid(visible=True, alpha=0.3)
    else:
        shown = result.figures[::-1]
        colors = ["tab:blue" if f.name.startswith("inmem") else "tab:gray" for f in shown]
        bars = axes.barh([f.name for f in shown], [f.median for f in shown], color=colors)
        axes.bar_label(bars, [quantity(f.median, f.unit) for f in shown], padding=3)
        axes.margins(x=0.2)
        axes.set_xlabel(unit)
    axes.set_title(subject.title)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def compare(before_path: Path, after_path: Path) -> None:
    """Print the changes between two JSON files, with their direction."""
    before, after = (json.loads(path.read_text(encoding="utf-8")) for path in (before_path, after_path))
    for label, run in (("before", before), ("after", after)):
        facts = run["environment"]
        console.print(f"{label}: {facts['date']}, commit {facts['commit']}, {facts['processor']}, load {facts['load']}")
    table = Table("subject", "figure")
    for column in ("before", "after", "change"):
        table.add_column(column, justify="right")
    for name, subject in after["subjects"].items():
        old = {(f["name"], f["at"]): f for f in before["subjects"].get(name, {}).get("figures", ())}
        for new_figure in subject["figures"]:
            old_figure = old.get((new_figure["name"], new_figure["at"]))
            if old_figure is not None:
                table.add_row(name, _label(new_figure, subject["axis"]), *_change(old_figure, new_figure))
    console.print(table)


def _label(figure: dict[str, Any], axis: str | None) -> str:
    return figure["name"] if axis is None else f"{figure['name']}, {figure['at']:,.0f} {axis}"


def _change(old: dict[str, Any], new: dict[str, Any]) -> tuple[str, str, str]:
    unit = new["unit"]
    change = new["median"] / old["median"] - 1 if old["median"] else 0.0
    words = f"{change:+.0%}"
    # Overlapping rounds show no significant change.
    overlap = max(min(old["rounds"]), min(new["rounds"])) <= min(max(old["rounds"]), max(new["rounds"]))
    if abs(change) >= CHANGE_WORTH_NOTICE and not overlap:
        better = (change > 0) == unit.endswith("/s")
        words = f"[green]{words}[/green]" if better else f"[red]{words}[/red]"
    return quantity(old["median"], unit), quantity(new["median"], unit), words
