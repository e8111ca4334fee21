"""The rules under which a score was computed, by the name that stands in the result.

Scores are comparable only under one rule. CUHK03's old protocol (100 random galleries) and other conventions of AP
(interpolated, or with the area between points) give other figures and are not implemented here.
"""

from __future__ import annotations

from dataclasses import dataclass

from partreid.functional.ranking import ALL_CAMERAS, CROSS_CAMERA, OTHER_FILE

_COMMON = (
    "For each query the gallery is sorted by distance; equal distances keep the gallery's order, and an infinite "
    "distance (nothing to compare) ranks last. {junk} A query without a positive is skipped and not counted. "
    "CMC-k: a positive among the first k. AP: mean over the positives of the precision at them, without "
    "interpolation. INP: positives divided by the rank of the last one. Single query, no re-ranking."
)


@dataclass(frozen=True)
class Protocol:
    """A rule for scoring.

    Attributes:
        name: as in ``EvaluationResult.protocol``. text: the rule in words, for reports.
    """

    name: str
    text: str


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            CROSS_CAMERA,
            _COMMON.format(junk="Gallery pictures of the same person and the same camera are dropped."),
        ),
        Protocol(
            OTHER_FILE,
            _COMMON.format(
                junk="Cameras are unknown, so only the query's very file is dropped; figures come out higher than with "
                "cameras."
            ),
        ),
        Protocol(
            ALL_CAMERAS,
            _COMMON.format(junk="Cameras are unknown, so nothing is dropped; figures come out higher than with them."),
        ),
    )
}
"""The rules by name: that of all published sets here, and two for data without cameras: files known or not."""
