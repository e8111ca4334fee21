"""Opening a gallery for a search, and printing the results as a table."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from partreid import retrieval
from partreid.cli.console import console, plain_table, say_warning
from partreid.errors import DataError

if TYPE_CHECKING:
    from partreid import Gallery, MatchCalibration, RuntimeConfig


def open_to_search(
    location: str, model: str, calibration: str | None, *, runtime: RuntimeConfig, mirror: bool,
    adaptation: str | None = None,
) -> tuple[Gallery, MatchCalibration | None, str]:  # fmt: skip
    """A gallery with its model, the calibration to use, and the reason if the one beside the model is not used.

    Raises:
        DataError: there is no gallery, it is another model's, or the calibration asks for another way of embedding.
    """
    from partreid.retrieval.how_compared import find_calibration, load_for_comparison
    from partreid.retrieval.lookup import calibration_beside

    known = find_calibration(calibration, model)
    extractor, _ = load_for_comparison(model, runtime=runtime, mirror=mirror, calibration=known, adaptation=adaptation)
    try:
        opened = retrieval.Gallery.open(location, extractor=extractor, create=False)
    except DataError:
        ways = [] if known is None else [*known.overrides, *(["mirror"] if known.mirror else [])]
        if not ways:
            raise
        with retrieval.Gallery.open(location, create=False) as found:
            raise DataError(
                f"The calibration is for images embedded with {', '.join(ways)} ({extractor.fingerprint}), but "
                f"the gallery was embedded in another way ({found.model or 'unknown'}). Fit a calibration for that "
                "way with `partreid calibrate`, or leave --calibration out."
            ) from None
    known, problem = (known, "") if known else calibration_beside(model, opened)
    if problem:
        say_warning(problem)
    return opened, known, problem


def print_found(answer: dict[str, Any], slots: Sequence[str]) -> None:
    """A table of what was found; each part's distance where the terminal is wide enough."""
    found = answer["found"]
    levels = zip(*(row["id"].split("/")[:-1] for row in found), strict=False)
    under = "".join(f"{level[0]}/" for level in takewhile(lambda level: len(set(level)) == 1, levels))
    columns: dict[str, list[str]] = {
        "": [str(rank) for rank in range(1, len(found) + 1)],
        "item": [row["id"].removeprefix(under) for row in found],
        "distance": ["no part in common" if row["distance"] is None else f"{row['distance']:.3f}" for row in found],
        "probability": ["" if row["probability"] is None else f"{100 * row['probability']:.1f} %" for row in found],
        "camera": [row["camera"] or "" for row in found],
        "time": [(row["time"] or "")[:19].replace("T", " ") for row in found],
    }
    columns = {head: cells for head, cells in columns.items() if any(cells)}
    parts = {slot: [f"{row['parts'][slot]:.2f}" if slot in row["parts"] else "·" for row in found] for slot in slots}
    # 3 characters of a frame beside each column.
    width = sum(3 + max(map(len, [head, *cells])) for head, cells in (columns | parts).items()) + 1
    narrow = {"parts": [f"{row['compared']} of {len(slots)}" for row in found]}
    columns |= parts if width <= console.width else narrow
    shows = ", ".join(answer["visible"]) or "no part"
    console.print(f"{answer['query']} shows {shows}", soft_wrap=True)
    if not found:
        console.print("There is nothing to search, because no item meets the conditions.")
        return
    title = f"{len(found)} found{f' in {under}' if under else ''}"
    console.print(plain_table(title, list(columns), zip(*columns.values(), strict=True)))
    if "named" in answer:
        console.print(f"Named: {answer['named'] or 'nobody'}.", soft_wrap=True)
