"""``python -m benchmarks.matching_full [market1501 | msmt17]``: evaluation at a whole data set's size, minutes long.

Not part of ``make bench``. MSMT17's embeddings are in half precision, as 82,161 × 9 × 512 numbers would take 1.5 GB.
"""

from __future__ import annotations

import sys

from rich.console import Console

from benchmarks.__main__ import table
from benchmarks.matching import TITLE, Figure, made_up, memory, over_products

SIZES = {"market1501": (3368, 15913), "msmt17": (11659, 82161)}


def main() -> None:
    """Measure the sizes asked for."""
    figures: list[Figure] = []
    for name in sys.argv[1:] or SIZES:
        queries, gallery = SIZES[name]
        size = f"{name}: {queries:,} × {gallery:,}"
        figures.append(memory(size, queries, gallery, half_precision=name == "msmt17"))
        if name == "market1501":
            figures.append(over_products(f"evaluation over the products, {size}", made_up(queries, gallery), 3))
    Console(width=160).print(table(TITLE, figures))


if __name__ == "__main__":
    main()
