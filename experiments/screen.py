"""The end of a run on one screen: verdict, time, losses, figures against their limits, report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments.report.page import PAGE
from experiments.report.record import NO_VERDICT, Record, load
from experiments.report.story import headline, told
from experiments.study.folder import StudyResults
from mobivpn.variants import System

_STYLE = {"passed": "bold green", "failed": "bold red", NO_VERDICT: "bold yellow"}
_FEW_MOVES = 8
OURS = System.MOBIVPN.value
_MOST_CHECKS = 12
_WIDE = 72
"""Columns that a line of many parts may take before it is broken."""


def show(folder: Path, console: Console) -> None:
    """Print what a reader of a finished run wants first; what is not known is left out."""
    record = load(folder)
    console.print()
    console.print(f"[{_STYLE.get(record.verdict, 'bold')}]{escape(headline(record))}[/]")
    console.print(escape(_what(record)), style="dim", highlight=False)
    if record.summary:
        _print(console, "time", _times(record.run, record.summary))
        _print(console, "probes lost", _losses(record))
        _print(console, "gaps (ms)", _gaps(record))
        console.print(_checks(record.value("checks") or []))
    for gap in record.gaps:
        console.print(f"[yellow]missing[/]     {escape(gap)}", highlight=False, soft_wrap=True)
    page = folder / PAGE
    where = str(page) if page.exists() else "not drawn"
    console.print(f"report      {escape(where)}", highlight=False, soft_wrap=True)


def show_study(results: StudyResults, console: Console) -> None:
    """Print what a reader of a study that is over wants first."""
    summary, page = results.summary, results.folder / PAGE
    verdict = summary["verdict"]
    console.print()
    console.print(f"[{_STYLE[verdict]}]{verdict.capitalize()}: {len(summary['runs'])} runs[/]")
    times = f"in all {summary['wall_seconds']:.0f} s, {summary['known_before']} runs known before"
    _print(console, "time", [times])
    for run in summary["runs"]:
        if run["failed_checks"]:
            console.print(f"[red]run failed[/]  {escape(str(run))}", highlight=False)
    console.print(_checks(summary["checks"]))
    where = str(page) if page.exists() else "not drawn"
    console.print(f"report      {escape(where)}", highlight=False, soft_wrap=True)


def _print(console: Console, title: str, parts: list[str]) -> None:
    """Print parts beside their title, broken between parts only."""
    if not parts:
        return
    line = f"{title:<12}"
    for part in parts:
        if len(line) + len(part) > _WIDE and line.strip() != title:
            console.print(escape(line.rstrip()), highlight=False)
            line = " " * 12
        line += f"{part}   "
    console.print(escape(line.rstrip()), highlight=False)


def _what(record: Record) -> str:
    run = record.run
    parts = [str((run.get("scenario") or {}).get("name") or run.get("experiment") or "run")]
    if (system := (run.get("variants") or {}).get("system", OURS)) != OURS:
        parts.append(f"system {system}")
    if run.get("clock"):
        parts.append(f"{run['clock']} clock")
    if run.get("seed") is not None:
        parts.append(f"seed {run['seed']}")
    if algorithm := (run.get("scenario") or {}).get("algorithm"):
        parts.append(algorithm)
    if run.get("binding_auth") == "static":
        parts.append("bindings authorised by given keys")
    if run.get("handover") not in (None, "hard"):
        parts.append(f"{run['handover']} handovers")
    if run.get("agent_delay_ms"):
        parts.append(f"agents delayed by {run['agent_delay_ms']:g} ms")
    return ", ".join(parts)


def _times(run: Mapping[str, Any], summary: Mapping[str, Any]) -> list[str]:
    """Return where the wall-clock time went; parts if they are known, else the whole."""
    by_part = run.get("wall_by_part")
    if isinstance(by_part, Mapping) and by_part:
        parts = [f"{name} {took:.1f} s" for name, took in by_part.items()]
        return [*parts, f"in all {sum(by_part.values()):.1f} s"]
    whole = run.get("wall_seconds") or summary.get("wall_seconds")
    return [f"in all {whole:.1f} s"] if whole else []


def _losses(record: Record) -> list[str]:
    by_phase = record.value("lost_by_phase") or {}
    return [f"{phase.replace('_', ' ')} {told(count)}" for phase, count in by_phase.items()]


def _gaps(record: Record) -> list[str]:
    """Return each move's time without traffic, and its lower bound; of many, their spread."""
    found = []
    moves = record.value("moves") or []
    if len(moves) > _FEW_MOVES:
        spread = {
            key: record.value("handovers", "gap_ms", key) for key in ("median", "p95", "worst")
        }
        names = {"median": "median", "p95": "95 % up to", "worst": "worst"}
        return [f"{names[key]} {gap:.1f}" for key, gap in spread.items() if gap is not None]
    for move in moves:
        gap, bound = move["gap_ms"], move["lower_bound_ms"]
        took = "never got through" if gap is None else f"{gap:.1f}"
        least = "" if gap is None or bound is None else f" (least {bound:.1f})"
        found.append(f"{move['node']} to {move['to']} {took}{least}")
    return found


def _checks(checks: list[Mapping[str, Any]]) -> Table:
    """Return the figures that are judged against their limits, failed ones first."""
    table = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
    table.add_column("")
    table.add_column("check")
    table.add_column("value", justify="right")
    table.add_column("limit", justify="right")
    judged = [check for check in checks if check["limit"] is not None]
    judged.sort(key=lambda check: check["passed"])
    shown = judged if len(judged) <= _MOST_CHECKS else judged[: _MOST_CHECKS - 1]
    for check in shown:
        mark, style = ("✓", "") if check["passed"] else ("✗", "bold red")
        cells = (escape(check["name"]), told(check["value"]), told(check["limit"]))
        table.add_row(mark, *cells, style=style)
    if shown is not judged:
        table.add_row("", f"and {len(judged) - len(shown)} more: see the report", "", "")
    return table
