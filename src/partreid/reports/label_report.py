"""The page about a split's labels: what they hold, some of them, and the bad ones by reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from partreid.labels.grouping import LABEL_THRESHOLD
from partreid.labels.quality import REASONS, LabelRating
from partreid.objects import Guided
from partreid.parts import PartSchema
from partreid.reports.pages import render
from partreid.viz.colors import readable
from partreid.viz.labels import READING, LabelledImage, draw_label_sheet, label_strip


@dataclass(frozen=True, eq=False, repr=False)
class LabelReport(Guided):
    """The labels of a split, rated, and the images to show of them.

    Attributes:
        title: what was read. schema: the K parts. threshold: λ_r of Eq. 10.
        ratings: one per image of the split.
        worst: positions in ``ratings`` by reason, the worst first (``worst_first``).
        chosen: positions to show as they come. drawn: the first of ``worst``, to show too.
        images: what stands at these positions.
    """

    title: str
    schema: PartSchema
    ratings: Sequence[LabelRating]
    worst: Mapping[str, Sequence[int]]
    chosen: Sequence[int]
    drawn: Mapping[str, Sequence[int]]
    images: Mapping[int, LabelledImage]
    threshold: float = LABEL_THRESHOLD

    def contact_sheet(self) -> Figure:
        """The chosen images."""
        return self._sheet({"": self.chosen}, self.title)

    def worst_sheet(self) -> Figure:
        """The worst under their reasons."""
        groups = {self.heading(reason): found for reason, found in self.drawn.items()}
        return self._sheet(groups, self.title if groups else f"No bad label. {self.title}")

    def page(self) -> str:
        """Everything as one HTML page."""
        return render(
            "label_report.html", title=self.title, lead=READING, slots=self.schema.parts, report=self, reasons=REASONS
        )

    def heading(self, reason: str) -> str:
        """A reason, and how many labels have it."""
        shown, every = len(self.drawn[reason]), len(self.worst[reason])
        return f"{REASONS[reason].title} ({f'{every:,}' if shown == every else f'{shown} of {every:,}'})"

    def strip(self, position: int) -> np.ndarray:
        """An image, its pose fields and its label map side by side: uint8 [256, W', 3]."""
        return label_strip(self.images[position], self.schema, threshold=self.threshold)

    @property
    def whole(self) -> list[LabelRating]:
        """The ratings of the labels that could be read."""
        return [rating for rating in self.ratings if rating.size]

    @property
    def coverage(self) -> float:
        """Fraction of an image that the body covers, on average."""
        return sum(rating.coverage for rating in self.whole) / max(1, len(self.whole))

    def counts(self) -> list[tuple[str | tuple[str, str], str, str]]:
        """Rows of a table: how many labels are worth a look, by reason, each a link to its section."""
        total = len(self.ratings)
        rows: list[tuple[str | tuple[str, str], int]] = [
            ((REASONS[reason].title, reason), len(found)) for reason, found in self.worst.items()
        ]
        rows.append(("Nothing noticed", total - sum(count for _, count in rows)))
        return [(name, f"{count:,}", _percent(count, total)) for name, count in rows]

    def parts(self) -> list[tuple[str, str]]:
        """Rows of a table: in how many labels each part is."""
        found = Counter(part for rating in self.whole for part in rating.parts)
        return [(readable(part), _percent(found[part], len(self.whole))) for part in self.schema.parts]

    def sizes(self) -> str:
        """How many labels have which size."""
        found = Counter("{}×{}".format(*rating.size) for rating in self.whole if rating.size)
        return ", ".join(f"{size} ({count:,})" for size, count in found.most_common())

    def _sheet(self, groups: Mapping[str, Sequence[int]], title: str) -> Figure:
        content = {heading: [self.images[i] for i in found] for heading, found in groups.items()}
        return draw_label_sheet(content, self.schema, title=title, threshold=self.threshold)


def _percent(number: int, total: int) -> str:
    return f"{100 * number / max(1, total):.1f}"
