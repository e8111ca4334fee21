"""Export a model to ONNX, and use the file where there is no PyTorch."""

import json
import tempfile

import numpy as np
import onnxruntime
from PIL import Image

from partreid.datasets import shipped_split
from partreid.export import export_model

images = sorted((shipped_split() / "query").glob("*.jpg"))[:4]

with tempfile.TemporaryDirectory() as folder:
    made = export_model("shipped", f"{folder}/people.onnx")  # is compared with PyTorch before it is kept
    print(f"{made.megabytes:.0f} MB")

    session = onnxruntime.InferenceSession(f"{folder}/people.onnx")
    info = json.loads(session.get_modelmeta().custom_metadata_map["partreid"])  # size and slots travel with the file
    size = info["preprocess"]["width"], info["preprocess"]["height"]
    pixels = np.stack([np.asarray(Image.open(image).resize(size, Image.Resampling.BILINEAR)) for image in images])
    vectors, visibility, attention = session.run(None, {"images": pixels})
    print(info["slots"])
    print(vectors.shape, visibility.round(2))
