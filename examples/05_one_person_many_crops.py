"""Merge the crops of a track into one embedding: one crop shows what another hides."""

from partreid import PartExtractor, merge_tracklets, part_distances
from partreid.datasets import shipped_split

crops = sorted((shipped_split() / "query").glob("*.jpg"))[:12]
people = [crop.name[:4] for crop in crops]

extractor = PartExtractor.from_pretrained()
embeddings = extractor.embed(crops)
merged, tracks = merge_tracklets(embeddings, people)  # one row for each track

for row, track in enumerate(tracks):
    own = [number for number, person in enumerate(people) if person == track]
    alone = (embeddings.visibility[own] > 0).sum(1).tolist()
    print(f"track {track}: crops show {alone} slots, together {int((merged.visibility[row] > 0).sum())}")
print(part_distances(merged, merged))  # [tracks, tracks]
