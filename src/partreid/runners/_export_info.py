"""The format that ``partreid export`` writes: names in a file, what it says of itself, and its checksum.

The checksum is of all bytes, and of the weights' where they lie apart. It stands among the file's own metadata, as text
of fixed length, and is that of the file with zeros in its place, so that neither ONNX nor OpenVINO is needed to write
or to check it.
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
"""What stands in a file's metadata until :func:`seal` puts the checksum there."""

_SEAL = re.compile(_MARK.encode() + rb"([0-9a-f]{64})")
VERSION = 2
"""Of the format: names and shapes of input and outputs, and the fields of :class:`ExportInfo`."""
METADATA_KEY = "partreid"
"""Under which a file holds its :class:`ExportInfo` as JSON: ONNX's ``metadata_props``, OpenVINO's ``rt_info``."""
INPUT = "images"
"""uint8 [B, H, W, 3] RGB at the size that the file says, B of any size."""
OUTPUTS = ("vectors", "visibility", "attention")
"""float32 [B, S, D], [B, S] and [B, K+1, h, w]."""


class ExportInfo(ConfigModel):
    """What an exported file says of itself."""

    version: int = VERSION
    """Of the format."""
    partreid: str
    """The version that wrote the file."""
    network: str
    """The kind of network: BPBReID, BoT or PCB."""
    slots: tuple[str, ...]
    """Names of what stands in ``vectors`` and ``visibility``, in order."""
    part_names: tuple[str, ...]
    """Names of the channels of ``attention`` behind the first, which is the background."""
    preprocess: PreprocessConfig
    """Size of the images that the file takes; mean and deviation, which it applies itself."""
    mirror: bool = False
    """Whether each image is embedded together with its mirror image."""
    visibility: str
    """Rule of visibility (``ModelConfig.visibility``)."""
    visibility_threshold: float
    """λ_v of Eq. 4, for the rule "threshold"."""
    normalize_embeddings: bool
    """Whether matching should divide each vector by its length first."""
    slot_weights: SlotWeights = Field(default_factory=dict)
    """How much slots count in matching beside their visibility (``ModelConfig.slot_weights``)."""
    fingerprint: str
    """That of the extractor it was made from: a gallery takes embeddings of either."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of all that is not quantised; only OpenVINO can be asked for bfloat16."""
    quantized: bool = False
    """Whether weights and maps are 8-bit integers."""
    license: str | None = None
    """Under which the weights may be used, where whoever exported them said so."""
    content: str = UNSEALED
    """Checksum of the file (:func:`seal`): the fingerprint is that of these weights, and of no others."""

    def to_json(self) -> str:
        """As one line of text."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, *, source: str) -> ExportInfo:
        """Read what :meth:`to_json` wrote; a CheckpointError if it is of another version, or damaged."""
        try:
            data = parse_json(text, source="its description", error=DataError)
            version = data["version"]
            if version == VERSION:
                return cls.parse(data, source=source)
        except (ValueError, TypeError, KeyError) as error:  # ConfigError is a ValueError
            raise CheckpointError(f"{source} does not say what it holds as partreid writes it: {error}") from None
        raise CheckpointError(f"{source} has export version {version!r}, expected {VERSION}. Export the run again.")


def seal(path: Path) -> None:
    """Put the checksum into a file that was just written, with :data:`UNSEALED` in its metadata."""
    start, _, digest = _look(path)
    with path.open("r+b") as file:
        file.seek(start)
        file.write(digest.encode())


def check_seal(path: Path) -> None:
    """Whether a file, and the ``.bin`` beside an ``.xml``, are as they were exported. Both are read once.

    Raises:
        CheckpointError: they are not, or the file has no checksum.
    """
    _, claimed, digest = _look(path)
    if claimed != digest:
        weights = f" and {path.with_suffix('.bin').name}" if path.suffix == ".xml" else ""
        raise CheckpointError(
            f"{path}{weights} cannot be trusted: the content is not what was exported (another file's weights, damage, "
            "or an edit). Copy the exported files once more, or export the run again."
        )


def _look(path: Path) -> tuple[int, str, str]:
    """Where the checksum stands, what it says, and what it should say."""
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
            del found  # it holds on to the map
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
