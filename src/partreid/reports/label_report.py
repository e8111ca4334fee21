"""The page about a split's labels: what they hold, some of them, and the bad ones by reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from partreid.labels.grouping import LABEL_THRESHOLD
from partreid.labels.quality import REASONS, LabelRating
from partreid.parts import PartSchema
from partreid.reports.html import Html, Section, figure, gallery, legend, link, page, paragraph, table
from partreid.viz.colors import part_colors, readable
from partreid.viz.labels import READING, LabelledImage, draw_label_sheet, label_strip


@dataclass(frozen=True, eq=False)
class LabelReport:
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
        groups = {_heading(reason, found, self.worst[reason]): found for reason, found in self.drawn.items()}
        return self._sheet(groups, self.title if groups else f"No bad label. {self.title}")

    def page(self) -> str:
        """Everything as one HTML page."""
        sections = [
            Section("Summary", self._summary(), "summary"),
            Section(f"{len(self.chosen)} labels, evenly chosen", [self._gallery(self.chosen)], "chosen"),
        ]
        for reason, found in self.drawn.items():
            heading = _heading(reason, found, self.worst[reason])
            sections.append(Section(heading, [paragraph(REASONS[reason].rule), self._gallery(found)], reason))
        colors = {readable(part): color for part, color in part_colors(self.schema.parts).items()}
        return page(self.title, sections, lead=READING, pinned=legend(colors))

    def _sheet(self, groups: Mapping[str, Sequence[int]], title: str) -> Figure:
        content = {heading: [self.images[i] for i in found] for heading, found in groups.items()}
        return draw_label_sheet(content, self.schema, title=title, threshold=self.threshold)

    def _gallery(self, positions: Sequence[int]) -> Html:
        return gallery([self._figure(i) for i in positions])

    def _figure(self, position: int) -> Html:
        image = self.images[position]
        strip = label_strip(image, self.schema, threshold=self.threshold)
        words = f"{image.name}: image, pose fields and label map. {image.note}"
        return figure(strip, alt=words, lines=(image.name, image.note))

    def _summary(self) -> list[Html]:
        total = len(self.ratings)
        reasons: list[tuple[str | Html, str, str]] = [
            (link(REASONS[reason].title, reason), f"{len(found):,}", _percent(len(found), total))
            for reason, found in self.worst.items()
        ]
        bad = sum(len(found) for found in self.worst.values())
        reasons.append(("Nothing noticed", f"{total - bad:,}", _percent(total - bad, total)))
        whole = [rating for rating in self.ratings if rating.size]
        parts = Counter(part for rating in whole for part in rating.parts)
        sizes = Counter("{}×{}".format(*rating.size) for rating in whole if rating.size)
        return [
            table(("labels", "number", "%"), reasons, caption="Worth a look"),
            table(
                ("part", "labels with it, %"),
                [(readable(part), _percent(parts[part], len(whole))) for part in self.schema.parts],
                caption="Parts",
            ),
            paragraph(
                f"{len(whole):,} labels could be read. Size in nodes: "
                + ", ".join(f"{size} ({number:,})" for size, number in sizes.most_common())
                + f". On average the body covers {_mean_coverage(whole)} of an image."
            ),
        ]


def _heading(reason: str, shown: Sequence[int], all_found: Sequence[int]) -> str:
    count = f"{len(all_found):,}" if len(shown) == len(all_found) else f"{len(shown)} of {len(all_found):,}"
    return f"{REASONS[reason].title} ({count})"


def _mean_coverage(ratings: Sequence[LabelRating]) -> str:
    return f"{sum(r.coverage for r in ratings) / max(1, len(ratings)):.0%}"


def _percent(number: int, total: int) -> str:
    return f"{100 * number / max(1, total):.1f}"
