"""Embed images: a vector and a visibility for each body part."""

from partreid import PartExtractor
from partreid.datasets import shipped_split

images = sorted((shipped_split() / "query").glob("*.jpg"))[:8]
extractor = PartExtractor.from_pretrained()  # the model inside the package
embeddings = extractor.embed(images)

print(embeddings.slots)  # the foreground, then the body parts
print(tuple(embeddings.vectors.shape))  # [images, slots, numbers]
for image, visible in zip(images, embeddings.visibility, strict=True):
    seen = [slot for slot, v in zip(embeddings.slots, visible, strict=True) if v > 0]
    print(image.name, "shows", ", ".join(seen))
