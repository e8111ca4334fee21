"""Search an archive: a gallery in a folder, filled once and searched many times."""

import tempfile

from partreid import Gallery
from partreid.datasets import shipped_split

root = shipped_split()
archive = sorted((root / "bounding_box_test").glob("*.jpg"))[:40]
people = [{"person": image.name[:4]} for image in archive]  # whatever you know of an image
query = next(image for image in sorted((root / "query").glob("*.jpg")) if image.name[:4] == archive[0].name[:4])

with tempfile.TemporaryDirectory() as folder, Gallery(f"{folder}/people") as gallery:  # embeds with the shipped model
    gallery.add(archive, ids=[image.name for image in archive], metadata=people)
    found = gallery.search(query, k=5)
    print("query", query.name)
    for hit in found[0]:
        print(f"{hit.distance:.2f}  {hit.id}  {hit.metadata['person']}")
