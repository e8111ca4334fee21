"""The origin of a data set, from the set itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from partreid.datasets.synthetic.facts import INDEX
from partreid.datasets.synthetic.manifest import MANIFEST
from partreid.errors import DataError, warn
from partreid.json_files import read_json
from partreid.types import ReIDImage


def describe_data(images: Iterable[ReIDImage]) -> list[dict[str, Any]]:
    """For each set of the images: its name, numbers of images and identities, and for a rendered set its manifest.

    The result has plain values, and names no folder.
    """
    by_set: dict[str, list[ReIDImage]] = defaultdict(list)
    for image in images:
        by_set[image.dataset].append(image)
    return [
        {"name": name, "images": len(some), "identities": len({image.pid for image in some}), **_rendered_as(some[0])}
        for name, some in sorted(by_set.items())
    ]


def read_manifest(root: Path) -> Mapping[str, Any] | None:
    """The manifest of a rendered set: renderer, configuration, SHA-256 of assets and panoramas by name.

    None for any other folder.

    Raises:
        DataError: its manifest cannot be read.
    """
    if not (root / MANIFEST).is_file() or not (root / INDEX).is_file():
        return None
    found = read_json(root / MANIFEST, error=DataError)
    if not isinstance(found, dict) or not {"renderer", "config"} <= found.keys():
        raise DataError(f"{root / MANIFEST} is no manifest of a rendered set: it lacks renderer and config.")
    return found


def _rendered_as(image: ReIDImage) -> dict[str, Any]:
    """A rendered image lies in its split's folder, in the folder of the set."""
    try:
        manifest = read_manifest(image.path.parent.parent)
    except DataError as error:  # what is only noted must not end a training
        warn(f"How {image.dataset} was rendered stays unknown: {error}")
        return {}
    return {} if manifest is None else {"rendered": dict(manifest)}
