"""One name for a person across cameras."""

from datetime import UTC, datetime, timedelta

from partreid import Gallery, MatchCalibration
from partreid.datasets import shipped_split
from partreid.linking import LinkTracks, link

images = sorted((shipped_split() / "bounding_box_test").glob("*.jpg"))[:30]
noon = datetime(2026, 11, 30, 12, tzinfo=UTC)

gallery = Gallery()
gallery.add(
    images,
    ids=[image.name for image in images],
    cameras=[image.name.split("_")[1][:2] for image in images],  # 0001_c2s1_... was seen by c2
    times=[noon + timedelta(minutes=number) for number in range(len(images))],
)
found = link(LinkTracks.of_gallery(gallery), MatchCalibration.load("shipped"), max_wrong=0.2)
print(f"{len(set(found.persons))} persons; of the links, {found.expected_wrong:.0%} are expected to be wrong")
for track in found.of("p1"):
    print(track.id, track.camera)
