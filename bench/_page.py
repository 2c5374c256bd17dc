"""Brings the numbers of a run into the pages that quote them, so that those are the ones that were printed.

What a page says between a line ``<!-- bench:NAME -->`` and a line ``<!-- /bench -->`` is replaced.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from bench._plot import bars
from bench._proc import ROOT
from bench._report import all_targets

PAGES = (ROOT / "docs" / "performance.md", ROOT / "README.md")
PLOTS = {
    "fanout-saturated.svg": (
        "Saturated fan-out",
        "µs of server CPU a delivery",
        ("saturated",),
        "us_per_delivery",
    ),
    "fanout-rates.svg": ("Fan-out at a rate", "µs of server CPU a delivery", ("/s",), "us_per_delivery"),
    "latency.svg": ("Latency of a delivery at a rate", "p99, ms", ("/s",), "p99_ms"),
}


def write_page(results: dict[str, Any]) -> None:
    """Write the plots, and the tables into the pages."""
    tables = {"targets": _targets(results), "fanout": _fanout(results), "machine": _machine(results)}
    for page in PAGES:
        if not page.exists():
            continue
        text = page.read_text()
        for name, table in tables.items():
            pattern = re.compile(rf"(<!-- bench:{name} -->\n).*?(<!-- /bench -->)", re.DOTALL)
            text = pattern.sub(partial(_replaced, table), text)
        page.write_text(text)
    for file, (title, unit, words, key) in PLOTS.items():
        groups: dict[str, list[tuple[str, float]]] = {}
        for one in results.get("fanout", ()):
            if key in one and any(word in one["case"] for word in words) and "rsa" not in one["case"]:
                groups.setdefault(one["case"], []).append((one["server"], one[key]))
        if groups:
            (ROOT / "docs" / file).write_text(bars(title, unit, list(groups.items())))


def _replaced(table: str, found: re.Match[str]) -> str:
    return f"{found[1]}{table}{found[2]}"


def _targets(results: dict[str, Any]) -> str:
    lines = ["| what | must reach | measured | reached |", "|---|---|---|---|"]
    for one in all_targets(results):
        lines.append(f"| {one.what} | {one.bound} | {one.found or 'not measured'} | {one.verdict} |")
    return "\n".join(lines) + "\n"


def _fanout(results: dict[str, Any]) -> str:
    lines = [
        "| case | server | µs of CPU each | a second | CPU s | load s | wall s | p50 ms | p99 | p99.9 | MiB "
        "| limited by |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for one in results.get("fanout", ()):
        if "failed" in one:
            lines.append(f"| {one['case']} | {one['server']} | {one['failed']} | | | | | | | | | |")
            continue
        lines.append(
            f"| {one['case']} | {one['server']} | {one['us_per_delivery']:.2f} | {one['per_second']:,.0f} "
            f"| {one['server_cpu_s']:.2f} | {one['load_cpu_s']:.2f} | {one['wall_s']:.2f} "
            f"| {one['p50_ms']:.1f} | {one['p99_ms']:.1f} | {one['p999_ms']:.1f} | {one['rss_mib']:.0f} "
            f"| {one['limit']} |"
        )
    return "\n".join(lines) + "\n"


def _machine(results: dict[str, Any]) -> str:
    of = results["machine"]
    return (
        f"Measured {results['began'][:10]} at {of['commit']} on {of['cores']} cores of {of['cpu']}, Python "
        f"{of['python']}, {of['system']}; the load average was {results['load_before']:.1f} before.\n"
    )
