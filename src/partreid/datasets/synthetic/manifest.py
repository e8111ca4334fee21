"""The manifest of a rendered set. A resumed run reads it to check that it continues the same set."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from partreid.datasets.synthetic.catalogue import load_catalogue
from partreid.datasets.synthetic.panoramas import find_panoramas, read_panorama
from partreid.datasets.synthetic.render_config import SyntheticConfig
from partreid.datasets.synthetic.sequence_config import SequenceConfig
from partreid.errors import ConfigError, DataError, MissingDependencyError, warn
from partreid.files import atomic_file
from partreid.json_files import read_json

MANIFEST = "synthetic.json"
_FILES = ("panoramas", "assets")
"""Keys of the manifest with the SHA-256, by name, of files from outside the set."""


def begin_set(config: SyntheticConfig | SequenceConfig, out: Path, version: int | str, workers: int) -> None:
    """Write the set's manifest, or check that the existing one is of the same set; warn of assets left out.

    Args:
        version: of the renderer. workers: number of processes, which is checked too.

    Raises:
        MissingDependencyError: a library of the renderer is not installed.
        ConfigError: as :func:`~partreid.datasets.render_dataset`.
        DataError: a panorama or the assets cannot be read, or the manifest cannot be written.
    """
    check_libraries()
    if workers < 1:
        raise ConfigError(f"workers must be at least 1, got {workers}.")
    _claim(out, config, version)
    if config.assets and (skipped := load_catalogue(config.assets).skipped):
        some = "; ".join(f"{name}: {why}" for name, why in skipped[:3])
        warn(f"{len(skipped)} assets of {config.assets} are not used. {some}")


def check_libraries() -> None:
    """Check that the renderer's libraries are installed, without importing them.

    Raises:
        MissingDependencyError: one is not installed.
    """
    for library, name in (("anny", "anny"), ("warp", "warp-lang")):
        if importlib.util.find_spec(library) is None:
            raise MissingDependencyError(name, extra="synth", purpose="Rendering pedestrians")


def _claim(out: Path, config: SyntheticConfig | SequenceConfig, version: int | str) -> None:
    """Write the manifest, or check the existing one."""
    mine = manifest_of(config, version)
    path = out / MANIFEST
    if not path.exists():
        if out.is_dir() and any(p for p in out.iterdir() if not p.name.startswith(".")):
            raise ConfigError(f"{out} is not empty and holds no {MANIFEST}. Choose a new folder for the rendered set.")
        with atomic_file(path, error=DataError) as file:
            file.write_text(json.dumps(mine, indent=2) + "\n", encoding="utf-8")
        return
    try:
        found = read_json(path, error=DataError)
        files = {kind: dict(found.get(kind, {})) for kind in _FILES}
        theirs = {"renderer": found["renderer"], **files, **found["config"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} cannot be read ({error}). Remove the folder and render again.") from None
    if theirs["renderer"] != version:
        raise ConfigError(
            f"{out} holds a set of renderer {theirs['renderer']}; renderer {version} makes other images. "
            "The set can be used as it is; choose another folder to render."
        )
    here = mine["config"]
    differing = [f"{k} = {theirs.get(k)} there, {here[k]} here" for k in here if here[k] != theirs.get(k)]
    for kind in _FILES:
        there = theirs[kind]
        if other := sorted(name for name in mine[kind] | there if mine[kind].get(name) != there.get(name)):
            differing.append(f"{len(other)} {kind} differ, among them {other[0]}")
    if differing:
        raise ConfigError(
            f"{out} holds a set made with other options: {'; '.join(differing)}. Choose another folder, or remove it."
        )


def manifest_of(config: SyntheticConfig | SequenceConfig, version: int | str) -> dict[str, Any]:
    """Content of the set's manifest: renderer, configuration, and SHA-256 of panoramas and assets by name, without
    their folders.

    Raises:
        DataError: a panorama cannot be read, or the assets' folder holds nothing that can be used.
    """
    panoramas = find_panoramas(config.panoramas) if config.panoramas else []
    for panorama in panoramas:
        read_panorama(panorama.path)  # a damaged one is reported before anything is rendered
    return {
        "renderer": version,
        "config": config.model_dump(mode="json", exclude=set(_FILES)),
        "panoramas": {panorama.path.name: panorama.sha256 for panorama in panoramas},
        "assets": dict(load_catalogue(config.assets).digests) if config.assets else {},
    }
