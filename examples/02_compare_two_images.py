"""Compare two images: part by part, and as a probability that they show one person."""

from partreid import MatchCalibration, PartExtractor, compare
from partreid.datasets import shipped_split

images = sorted((shipped_split() / "bounding_box_test").glob("*.jpg"))
same = [images[1], images[4]]  # the name begins with the person: one, as two cameras saw him
other = images[7]

extractor = PartExtractor.from_pretrained()
calibration = MatchCalibration.load("shipped", extractor=extractor)
first, second, stranger = extractor.embed([*same, other])

for name, image in (("the same person", second), ("somebody else", stranger)):
    found = compare(first, image, calibration=calibration)
    print(f"{name}: distance {found.distances.item():.2f} over {found.compared.item()} parts,", end=" ")
    print(f"probability {found.probability.item():.2f}")
    print(found.parts())
