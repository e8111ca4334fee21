"""What a published checkpoint's stored configuration says. Fields are found by what they are called and what they hold.

The names of its fields are no part of a published format, so none is relied on: what is not found falls back to the
tensors or to the paper, and every choice says where it comes from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from partreid.errors import ConfigError
from partreid.parts import PART_SCHEMAS, get_part_schema, unnamed_schema
from partreid.preprocessing import PreprocessConfig

_SCHEMAS = {2: "two_v", 3: "three_v", 4: "four", 5: "five_v", 6: "six_new", 8: "eight", 11: "eleven"}
_DEEPEST = 8
_SIZES, _LARGE = {"resnet50": (256, 128)}, (384, 128)  # paper §4.2: ResNet-50; HRNet-W32 and ResNet-50-IBN


@dataclass(frozen=True)
class OfficialOptions:
    """What the user knows better than the file; None = as the file says.

    Attributes:
        parts: name of the part schema. height, width: of the input in pixels.
    """

    parts: str | None = None
    height: int | None = None
    width: int | None = None


@dataclass(frozen=True)
class FoundSetting:
    """A value and, in words, where it comes from; ``assumed`` if the file does not tell it."""

    value: Any
    source: str
    assumed: bool = False


class StoredConfig:
    """The configuration in a checkpoint, whatever its fields are called.

    Args:
        content: nested mappings; anything else counts as none.
    """

    def __init__(self, content: Any) -> None:
        self.entries = tuple(_walk(content))

    def schema(self, num_parts: int, chosen: str | None) -> FoundSetting:
        """The part schema's name: the chosen one, the one that a field names, else the usual one for K.

        Raises:
            ConfigError: the chosen one does not exist or has another number of parts.
        """
        if chosen is not None:
            if len(get_part_schema(chosen)) != num_parts:
                raise ConfigError(
                    f"The model has K = {num_parts} parts, and the part schema {chosen!r} has "
                    f"{len(get_part_schema(chosen))}. Schemas with {num_parts}: {', '.join(_of_length(num_parts))}."
                )
            return FoundSetting(chosen, "chosen")
        for key, value in self.entries:
            if isinstance(value, str) and value in _of_length(num_parts):
                return FoundSetting(value, f"stored configuration, {key}")
        if num_parts == 5 and any("occluded" in text.lower() for text in self._training_sets()):
            return FoundSetting(
                "five", "trained on an occluded set (stored configuration), where the paper's K = 5 is this"
            )
        name = _SCHEMAS.get(num_parts) or unnamed_schema(num_parts).name
        others = [other for other in _of_length(num_parts) if other != name]
        hint = f"; it may be {' or '.join(others)}" if others else ""
        source = f"assumed, the usual one for K = {num_parts}{hint}; matching does not depend on the names"
        return FoundSetting(name, source, assumed=True)

    def preprocess(self, backbone: str, options: OfficialOptions) -> dict[str, FoundSetting]:
        """Input size and normalisation by the fields of ``PreprocessConfig``."""
        height, width = _SIZES.get(backbone, _LARGE)
        default = PreprocessConfig()
        return {
            "height": FoundSetting(options.height, "chosen") if options.height else self._number("height", height),
            "width": FoundSetting(options.width, "chosen") if options.width else self._number("width", width),
            "mean": self._channels("mean", default.mean, lowest=0.0),
            "std": self._channels("std", default.std, lowest=1e-3),
        }

    def _number(self, name: str, default: int) -> FoundSetting:
        for key, value in self.entries:
            if key.rpartition(".")[2].lower() == name and isinstance(value, int) and not isinstance(value, bool):
                return FoundSetting(value, f"stored configuration, {key}")
        return FoundSetting(default, "assumed, the paper's for this backbone", assumed=True)

    def _channels(self, name: str, default: Sequence[float], *, lowest: float) -> FoundSetting:
        """Three numbers of [0, 1] under a key that ends in ``name``, with or without something before it."""
        for key, value in self.entries:
            last = key.rpartition(".")[2].lower()
            if (last != name and not last.endswith(f"_{name}")) or not isinstance(value, list | tuple):
                continue
            if len(value) == 3 and all(isinstance(v, int | float) and lowest <= v <= 1 for v in value):
                return FoundSetting(tuple(map(float, value)), f"stored configuration, {key}")
        return FoundSetting(tuple(default), "assumed, ImageNet's", assumed=True)

    def _training_sets(self) -> Iterator[str]:
        for key, value in self.entries:
            if key.rpartition(".")[2].lower() == "sources":
                yield from map(str, value if isinstance(value, list | tuple) else [value])


def _of_length(num_parts: int) -> list[str]:
    return [name for name, schema in PART_SCHEMAS.items() if len(schema) == num_parts]


def _walk(node: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Every (dotted key, value) of nested dictionaries, down to a sane depth, that is not itself a dictionary."""
    if isinstance(node, Mapping) and depth < _DEEPEST:
        for key, value in node.items():
            if isinstance(value, Mapping):
                yield from _walk(value, f"{prefix}{key}.", depth + 1)
            else:
                yield f"{prefix}{key}", value
