"""The format that ``partreid export`` writes: names in a file, its metadata, and its checksum.

The checksum covers all bytes, also of a separate file of weights. It stands in the file's own metadata as text of fixed
length, and is computed with zeros in its place. So neither ONNX nor OpenVINO is needed to write or to check it.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import re
from pathlib import Path
from typing import Literal

from pydantic import Field

from partreid.base_config import ConfigModel
from partreid.errors import CheckpointError, DataError
from partreid.json_files import parse_json
from partreid.models.backbones.network_files import as_network
from partreid.preprocessing import PreprocessConfig
from partreid.types.slot_weights import SlotWeights

_MARK = "partreid-sha256:"
UNSEALED = _MARK + "0" * 64
"""The placeholder in a file's metadata until :func:`seal` writes the checksum."""

_SEAL = re.compile(_MARK.encode() + rb"([0-9a-f]{64})")
VERSION = 2
"""Version of the format: names and shapes of input and outputs, and the fields of :class:`ExportInfo`."""
METADATA_KEY = "partreid"
"""Key of the file's :class:`ExportInfo` as JSON, in ONNX's ``metadata_props`` or OpenVINO's ``rt_info``."""
INPUT = "images"
"""Input: uint8 [B, H, W, 3] RGB at the size in the metadata, for any B."""
OUTPUTS = ("vectors", "visibility", "attention")
"""Outputs: float32 [B, S, D], [B, S] and [B, K+1, h, w]."""


class ExportInfo(ConfigModel):
    """The metadata of an exported file."""

    version: int = VERSION
    """Of the format."""
    partreid: str
    """The version of partreid that wrote the file."""
    network: str
    """The kind of network: BPBReID, BoT or PCB."""
    slots: tuple[str, ...]
    """Names of the slots in ``vectors`` and ``visibility``, in order."""
    part_names: tuple[str, ...]
    """Names of the channels of ``attention`` after the first, which is the background."""
    preprocess: PreprocessConfig
    """Size of the input images, and mean and deviation, which the file applies itself."""
    mirror: bool = False
    """Whether each image is embedded together with its mirror image."""
    visibility: str
    """Rule of visibility (``ModelConfig.visibility``)."""
    visibility_threshold: float
    """λ_v of Eq. 4, for the rule "threshold"."""
    normalize_embeddings: bool
    """Whether matching should divide each vector by its length first."""
    slot_weights: SlotWeights = Field(default_factory=dict)
    """Weights of slots in matching, in addition to their visibility (``ModelConfig.slot_weights``)."""
    fingerprint: str
    """Fingerprint of the extractor that was exported. A gallery accepts embeddings of both."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of everything that is not quantised; only OpenVINO supports bfloat16."""
    quantized: bool = False
    """Whether weights and maps are 8-bit integers."""
    license: str | None = None
    """Licence of the weights, if it was given at the export."""
    content: str = UNSEALED
    """Checksum of the file (:func:`seal`). It shows that the fingerprint belongs to these weights."""

    def to_json(self) -> str:
        """The metadata as one line of text."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, *, source: str) -> ExportInfo:
        """Read the text of :meth:`to_json`. CheckpointError if it has another version or is damaged."""
        try:
            data = parse_json(text, source="its description", error=DataError)
            version = data["version"]
            if version == VERSION:
                return cls.parse(data, source=source)
        except (ValueError, TypeError, KeyError) as error:  # ConfigError is a ValueError
            raise CheckpointError(f"{source} has no metadata in partreid's form: {error}") from None
        raise CheckpointError(f"{source} has export version {version!r}, expected {VERSION}. Export the run again.")


def seal(path: Path) -> None:
    """Write the checksum into a new file that has :data:`UNSEALED` in its metadata."""
    start, _, digest = _look(path)
    with path.open("r+b") as file:
        file.seek(start)
        file.write(digest.encode())


def check_seal(path: Path) -> None:
    """Check that a file, and the ``.bin`` beside an ``.xml``, have not changed since the export. Both are read once.

    Raises:
        CheckpointError: a file has changed, or has no checksum.
    """
    _, claimed, digest = _look(path)
    if claimed != digest:
        weights = f" and {path.with_suffix('.bin').name}" if path.suffix == ".xml" else ""
        raise CheckpointError(
            f"{path}{weights} cannot be trusted: the content is not what was exported (another file's weights, damage, "
            "or an edit). Copy the exported files once more, or export the run again."
        )


def _look(path: Path) -> tuple[int, str, str]:
    """The checksum's position, its stored value, and the correct value."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = list(_SEAL.finditer(content))
            if len(found) != 1:
                raise CheckpointError(
                    f"{path} was not written by partreid export, or by an earlier version, which kept no checksum of "
                    f"the weights. Export the run again. A network of another origin is taken as it is by the name "
                    f"{as_network(path)}."
                )
            start, end = found[0].span(1)
            claimed = found[0][1].decode()
            del found  # the match keeps the map open
            with memoryview(content) as view:
                digest.update(view[:start])
                digest.update(b"0" * (end - start))
                digest.update(view[end:])
        if path.suffix == ".xml":
            with path.with_suffix(".bin").open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    except (OSError, ValueError) as error:  # an empty file cannot be mapped
        raise CheckpointError(f"{path} was not written by partreid export, or cannot be read ({error}).") from None
    return start, claimed, digest.hexdigest()
