"""Compare two images: part by part, and as a probability that they show one person."""

from partreid import MatchCalibration, PartExtractor, compare
from partreid.datasets import shipped_split

queries = sorted((shipped_split() / "query").glob("*.jpg"))
same = [image for image in queries if image.name[:4] == queries[0].name[:4]][:2]  # the name begins with the person
other = next(image for image in queries if image.name[:4] != queries[0].name[:4])

extractor = PartExtractor.from_pretrained()
calibration = MatchCalibration.load("shipped", extractor=extractor)
first, second, stranger = extractor.embed([*same, other])

for name, image in (("the same person", second), ("somebody else", stranger)):
    found = compare(first, image, calibration=calibration)
    print(f"{name}: distance {found.distances.item():.2f} over {found.compared.item()} parts,", end=" ")
    print(f"probability {found.probability.item():.2f}")
    print(found.parts())
