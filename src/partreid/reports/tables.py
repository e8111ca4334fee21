"""Scores as text: in words, as CSV, and as a LaTeX table for a paper."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

from partreid.types import EvaluationResult

_ESCAPES = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "–": "--",
        "±": r"$\pm$",
    }
)


def in_words(name: str, result: EvaluationResult) -> str:
    """A name, followed by the two most common scores."""
    return f"{name}: rank-1 {100 * result.rank(1):.1f} %, mAP {100 * result.mean_ap:.1f} %"


def as_csv(rows: Sequence[Mapping[str, object]]) -> str:
    """CSV of rows with the same keys, which become the header. None is an empty cell.

    Example:
        >>> print(as_csv([{"query_set": "query", "rank1": 0.5}]))
        query_set,rank1
        query,0.5
        <BLANKLINE>
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_latex(columns: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1, note: str = "") -> str:
    """A ``tabular`` in the style of the package booktabs; the first ``left`` columns are aligned left, others right.

    Args:
        columns: headers. rows: cells of plain text; LaTeX's special characters are escaped.
        note: a comment above the table, for readers of its source.

    Example:
        >>> print(as_latex(["query set", "mAP"], [["query_a", "54.1"]]))
        \\begin{tabular}{lr}
        \\toprule
        query set & mAP \\\\
        \\midrule
        query\\_a & 54.1 \\\\
        \\bottomrule
        \\end{tabular}
        <BLANKLINE>
    """

    def line(cells: Sequence[str]) -> str:
        return " & ".join(cell.translate(_ESCAPES) for cell in cells) + r" \\"

    body = [r"\toprule", line(columns), r"\midrule", *map(line, rows), r"\bottomrule"]
    head = [f"% {part}" for part in note.splitlines()]
    kinds = "l" * left + "r" * (len(columns) - left)
    return "\n".join([*head, rf"\begin{{tabular}}{{{kinds}}}", *body, r"\end{tabular}"]) + "\n"
