"""``python -m benchmarks [group ...]``: measure, print each figure with its limit, write JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from dataclasses import asdict
from datetime import date
from importlib import import_module
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.timing import Figure

GROUPS = ("head", "matching", "data", "search", "gallery", "stores", "export", "embed", "train")
"""Modules of this package with a ``TITLE`` and a ``measure(rounds=...)`` that yields figures; all run by default.

The last three let this process keep freed memory, which quickens PyTorch: nothing may be measured after them that does
not say so."""

INSTRUCTIONS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimddp", "i8mm")
"""Names of instruction sets, as Linux writes them, that decide how quick products are."""


def main() -> None:
    """Run the groups asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="group", help=f"of {', '.join(GROUPS)}; all by default")
    parser.add_argument("--rounds", type=int, default=5, help="turns per comparison")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    if unknown := set(options.groups) - set(GROUPS):
        parser.error(f"unknown group {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    torch.manual_seed(0)
    console = Console()
    machine = f"{processor()}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}"
    console.print(f"{machine}, {date.today()}. CPU seconds, median of {options.rounds} turns; ratios within this run.")
    if hasattr(os, "getloadavg"):
        console.print(f"Load of the machine before the first turn: {os.getloadavg()[0]:.1f}.")
    started = time.perf_counter()
    results: dict[str, list[Figure]] = {}
    for name in options.groups or GROUPS:
        group = import_module(f"benchmarks.{name}")
        results[name] = list(group.measure(rounds=options.rounds))
        console.print(table(group.TITLE, results[name]))
    minutes = (time.perf_counter() - started) / 60, time.process_time() / 60
    console.print(f"{minutes[0]:.1f} minutes by the clock, {minutes[1]:.1f} of CPU in this process.")
    if options.json:
        figures = {name: [asdict(figure) for figure in group] for name, group in results.items()}
        content = {"machine": machine, "date": date.today().isoformat(), "figures": figures}
        options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def table(title: str, figures: list[Figure]) -> Table:
    """Figures with the limit beside each."""
    result = Table(title=title, title_justify="left")
    for column in ("what", "measured", "limit", "", "behind it"):
        result.add_column(column, justify="right" if column == "measured" else "left")
    for figure in figures:
        limit = "" if figure.limit is None else f"{'≥' if figure.at_least else '≤'} {figure.limit:g}"
        verdict = {None: "", True: "kept", False: "[red]missed[/red]"}[figure.within]
        result.add_row(figure.name, f"{figure.value:.4g} {figure.unit}", limit, verdict, figure.detail)
    return result


def processor() -> str:
    """The processor's name, and which instructions it has for products, where the system tells it."""
    about: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else ():
        key, _, value = line.partition(":")
        about.setdefault(key.strip(), value.strip())
    name = about.get("model name") or platform.processor() or platform.machine()
    flags = about.get("flags", about.get("Features", "")).split()
    return f"{name} ({', '.join(known for known in INSTRUCTIONS if known in flags) or 'instructions unknown'})"


if __name__ == "__main__":
    main()
