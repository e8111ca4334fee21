"""Pure tensor functions, one file per idea. They read and write no files, keep no state, and do not log."""

from typing import TYPE_CHECKING

from partreid.doors import door

if TYPE_CHECKING:
    from partreid.functional.distance import comparable_slots, paired_distances, pairwise_slot_distances, part_distances
    from partreid.functional.losses import (
        TripletLoss,
        identity_loss,
        part_attention_loss,
        part_averaged_triplet,
        per_part_triplet,
    )
    from partreid.functional.mining import HardPairs, batch_hard, pairwise_distances
    from partreid.functional.pooling import foreground_map, mean_pool, stripe_maps, weighted_average_pool
    from partreid.functional.ranking import (
        ALL_CAMERAS,
        CROSS_CAMERA,
        OTHER_FILE,
        QueryScores,
        evaluate_ranking,
        rank_block,
    )
    from partreid.functional.visibility import (
        VISIBILITY_RULES,
        argmax_visibility,
        continuous_visibility,
        slot_weights,
        threshold_visibility,
    )

__all__ = [
    "ALL_CAMERAS", "CROSS_CAMERA", "OTHER_FILE", "VISIBILITY_RULES", "HardPairs", "QueryScores", "TripletLoss",
    "argmax_visibility", "batch_hard", "comparable_slots", "continuous_visibility", "evaluate_ranking",
    "foreground_map", "identity_loss", "mean_pool", "paired_distances", "pairwise_distances",
    "pairwise_slot_distances", "part_attention_loss", "part_averaged_triplet", "part_distances",
    "per_part_triplet", "rank_block", "slot_weights", "stripe_maps", "threshold_visibility",
    "weighted_average_pool",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__, __dir__ = door(__name__)
