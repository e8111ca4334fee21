"""Search with conditions: a camera, a span of time, and people who are left out."""

from datetime import UTC, datetime, timedelta

from partreid import Filter, Gallery
from partreid.datasets import shipped_split

images = sorted((shipped_split() / "bounding_box_test").glob("*.jpg"))[:24]
noon = datetime(2026, 11, 30, 12, tzinfo=UTC)

gallery = Gallery()  # in memory; a name keeps it in a folder
gallery.add(
    images,
    ids=[image.name for image in images],
    cameras=[number % 2 + 1 for number in range(len(images))],
    times=[noon + timedelta(minutes=number) for number in range(len(images))],
    metadata=[{"person": image.name[:4]} for image in images],
)
where = Filter(cameras=2, since=noon + timedelta(minutes=5), not_metadata={"person": images[0].name[:4]})
for hit in gallery.search(images[0], k=3, where=where)[0]:
    print(f"{hit.distance:.2f}  camera {hit.camera}  {hit.time:%H:%M}  person {hit.metadata['person']}")
