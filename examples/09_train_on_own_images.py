"""Train on images of your own: a table says who is on them. One short epoch here; a real training has many."""

import csv
import tempfile
from pathlib import Path

from partreid import PartExtractor, Trainer, get_preset, read_dataset
from partreid.datasets import shipped_split

root = shipped_split()
people = {image.path.name[:4] for image in read_dataset(root).train[:200]}

with tempfile.TemporaryDirectory() as folder:
    data, run = Path(folder, "data"), Path(folder, "run")
    data.mkdir()
    with (data / "dataset.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["path", "pid", "camid", "split"])
        for image in sorted((root / "bounding_box_train").glob("*.jpg")):
            if image.name[:4] in people:
                (data / image.name).write_bytes(image.read_bytes())
                table.writerow([image.name, int(image.name[:4]), int(image.name.split("_")[1][1]), "train"])

    # Without part labels the parts cannot be learned: docs/labels.md makes them. This one learns a global embedding.
    config = get_preset("bot").override(["model.backbone=efficientnet_lite0", "pretrained=imagenet"])
    config = config.override(["preprocess.height=64", "preprocess.width=32", "optimizer.epochs=1"])
    Trainer(config, data / "dataset.csv", run).fit()
    print(PartExtractor.from_pretrained(run))
