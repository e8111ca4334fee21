"""``python -m benchmarks``: measure, print a table with the limit beside each figure, write JSON."""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import head


def main() -> None:
    """Run every benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns per comparison")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    torch.manual_seed(0)
    console = Console()
    machine = (
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}"
    )
    console.print(f"CPU seconds, median of {options.rounds} turns each; ratios within this run. {machine}")
    table = Table()
    for column in ("what", "seconds", "bare backbone", "ratio", "limit", ""):
        table.add_column(column)
    ratios = []
    for ratio in head.measure(rounds=options.rounds):
        ratios.append(ratio)
        limit = "" if ratio.limit is None else f"{ratio.limit:.2f}"
        verdict = "" if ratio.limit is None else "within" if ratio.ratio <= ratio.limit else "[red]above[/red]"
        row = (ratio.name, f"{ratio.seconds:.3f}", f"{ratio.baseline:.3f}", f"{ratio.ratio:.3f}", limit, verdict)
        table.add_row(*row)
    console.print(table)
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "ratios": [asdict(r) for r in ratios]}, indent=2))


if __name__ == "__main__":
    main()
