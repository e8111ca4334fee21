"""The rules for computing scores, by the name that the result contains.

Scores are comparable only under one rule. CUHK03's old protocol (100 random galleries) and other conventions of AP
(interpolated, or with the area between points) give other figures and are not implemented here.
"""

from __future__ import annotations

from partreid.functional.ranking import ALL_CAMERAS, CROSS_CAMERA, OTHER_FILE

_COMMON = (
    "For each query the gallery is sorted by distance; equal distances keep the gallery's order, and an infinite "
    "distance (nothing to compare) ranks last. {junk} Images of person -1 are junk and neglected, as gallery and as "
    "query. A query without a positive is skipped and not counted. "
    "CMC-k: a positive among the first k. AP: mean over the positives of the precision at them, without "
    "interpolation. INP: positives divided by the rank of the last one. Single query, {ranking}."
)
_PLAIN = "no re-ranking"
_RERANKED = (
    "re-ranked by k-reciprocal neighbours (Zhong et al. 2017): the ranking of a query also uses the other queries and "
    "how gallery images lie to each other, so it must not be compared with figures without re-ranking"
)


def reranked(protocol: str) -> str:
    """Name of the same rule with re-ranking."""
    return f"{protocol}, re-ranked"


_JUNK = {
    CROSS_CAMERA: "Gallery images of the same person and the same camera are dropped.",
    OTHER_FILE: "Cameras are unknown, so only the query's own file is dropped; figures are higher than with cameras.",
    ALL_CAMERAS: "Cameras are unknown, so nothing is dropped; figures are higher than with cameras.",
}

PROTOCOLS = {
    rule: _COMMON.format(junk=junk, ranking=ranking)
    for name, junk in _JUNK.items()
    for rule, ranking in ((name, _PLAIN), (reranked(name), _RERANKED))
}
"""The rules in words by name: that of all published sets here, two for data without cameras (files known or not), and
each of them with re-ranking."""
