"""Human parsing labels: pose fields, part maps, label maps, where their files lie, and how they are made.

Pose fields are one array [36, h, w] with values in [0, 1]: 17 COCO keypoints, then 19 limbs
(:data:`partreid.parts.KEYPOINTS`, :data:`partreid.parts.LIMBS`). The part maps E [K, h, w] are the maximum over
each part's channels, the label map Y [h, w] names the winning part (Eq. 10).

**Nodes.** A label of size h×w belongs to an image of H×W pixels in the corner-aligned way: node (i, j) lies at
pixel (i·H/(h-1), j·W/(w-1)), so that the outer nodes lie on the image's border. This is stated here once and
holds for every function that takes or makes a label. Published labels have h = 2·ceil((H-1)/16) + 1
(:func:`partreid.labels.fields.label_size`); no reader assumes it.
"""
