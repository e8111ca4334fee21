"""The loss of an export in fewer bits: scores of a query set with the exported file, and with PyTorch in float32."""

from __future__ import annotations

from dataclasses import dataclass

from partreid.evaluation.dataset import EmbeddedSplit, embed_split
from partreid.evaluation.evaluator import evaluate_embeddings
from partreid.inference.extractor import PartExtractor
from partreid.objects import Guided
from partreid.progress import Advance
from partreid.retrieval.how_compared import HowCompared
from partreid.types import EvaluationResult, ReIDDataset


@dataclass(frozen=True, eq=False, repr=False)
class Quality(Guided):
    """Scores of one query set.

    Attributes:
        reference: of PyTorch in float32. exported: of the exported file, for queries and gallery alike.
        mixed: of queries embedded by the exported file, in a gallery embedded by PyTorch.
    """

    reference: EvaluationResult
    exported: EvaluationResult
    mixed: EvaluationResult

    @property
    def loss(self) -> float:
        """The loss of the exported file in mAP, in points; negative for a gain."""
        return 100 * (self.reference.mean_ap - self.exported.mean_ap)


def measure_quality(
    reference: PartExtractor,
    exported: PartExtractor,
    dataset: ReIDDataset,
    *,
    advance: Advance = lambda count: None,
) -> Quality:
    """Search the first query set of a data set with both.

    Args:
        reference: PyTorch. exported: the file. dataset: what to search in.
        advance: called with the number of images done after each batch; each image is embedded twice.

    Raises:
        DataError: the set has no queries, none of them has a match, or an image cannot be read.
    """
    embedded = [
        [embed_split(extractor, split, advance=advance) for split in (dataset.query, dataset.gallery)]
        for extractor in (reference, exported)
    ]

    matching = HowCompared.of(reference).matching

    def score(query: EmbeddedSplit, gallery: EmbeddedSplit) -> EvaluationResult:
        return evaluate_embeddings(query.embeddings, gallery.embeddings, query.ids, gallery.ids, matching=matching)

    (query, gallery), (their_query, their_gallery) = embedded
    return Quality(score(query, gallery), score(their_query, their_gallery), score(their_query, gallery))
