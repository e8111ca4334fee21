"""Human parsing labels: pose fields, part maps, label maps, their files, and how to make them.

Pose fields are one array [36, h, w] with values in [0, 1]: 17 COCO keypoints, then 19 limbs
(:data:`partreid.parts.KEYPOINTS`, :data:`partreid.parts.LIMBS`). The part maps E [K, h, w] are the maximum over each
part's channels. The label map Y [h, w] names the strongest part (Eq. 10).

**Nodes.** A label of size h×w is aligned to the corners of its image of H×W pixels: node (i, j) lies at pixel
(i·H/(h-1), j·W/(w-1)), so the outer nodes lie on the image's border. This holds for every function that reads or makes
a label. Published labels have h = 2·ceil((H-1)/16) + 1 (:func:`partreid.labels.fields.label_size`); no reader assumes
it.
"""

from typing import TYPE_CHECKING

from partreid.doors import door

if TYPE_CHECKING:
    from partreid.labels.fields import (
        label_size,
        read_label_map,
        read_part_maps,
        read_pose_fields,
        write_label_map,
        write_pose_fields,
    )
    from partreid.labels.generate import LabelSummary, make_labels
    from partreid.labels.grouping import group_fields, label_map, one_hot
    from partreid.labels.locate import choose_label_folder, find_label, label_folders
    from partreid.labels.providers import LABEL_PROVIDERS, Crop, PoseLabel, PoseProvider, label_persons, load_provider
    from partreid.labels.quality import LabelRating, rate_label_file, rate_part_maps

__all__ = [
    "LABEL_PROVIDERS", "Crop", "LabelRating", "LabelSummary", "PoseLabel", "PoseProvider", "choose_label_folder",
    "find_label", "group_fields", "label_folders", "label_map", "label_persons", "label_size",
    "load_provider", "make_labels", "one_hot", "rate_label_file", "rate_part_maps", "read_label_map",
    "read_part_maps", "read_pose_fields", "write_label_map", "write_pose_fields",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__, __dir__ = door(__name__)
