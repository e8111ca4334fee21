"""What an exported file says of itself, and the names in it: the format that ``partreid export`` writes."""

from __future__ import annotations

import json
from typing import Literal

from partreid.base_config import ConfigModel
from partreid.errors import CheckpointError, DataError
from partreid.json_files import parse_json
from partreid.preprocessing import PreprocessConfig
from partreid.runners.export_digest import UNSEALED

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
    fingerprint: str
    """That of the extractor it was made from: a gallery takes embeddings of either."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of all that is not quantised; only OpenVINO can be asked for bfloat16."""
    quantized: bool = False
    """Whether weights and maps are 8-bit integers."""
    license: str | None = None
    """Under which the weights may be used, where whoever exported them said so."""
    content: str = UNSEALED
    """Checksum of the file (``export_digest``): the fingerprint is that of these weights, and of no others."""

    def to_json(self) -> str:
        """As one line of text."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, *, source: str) -> ExportInfo:
        """Read what :meth:`to_json` wrote.

        Raises:
            CheckpointError: it is of another version, or damaged.
        """
        try:
            data = parse_json(text, source="its description", error=DataError)
            version = data["version"]
            if version == VERSION:
                return cls.parse(data, source=source)
        except (ValueError, TypeError, KeyError) as error:  # ConfigError is a ValueError
            raise CheckpointError(f"{source} does not say what it holds as partreid writes it: {error}") from None
        raise CheckpointError(f"{source} has export version {version!r}, expected {VERSION}. Export the run anew.")
