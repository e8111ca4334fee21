"""A network in OpenVINO's format (IR): ``.xml`` contains the graph, ``.bin`` beside it the numbers.

It is read here instead of by OpenVINO, because its weights should be trained, and because a model from such a file
should run without OpenVINO.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from math import prod
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from partreid.errors import CheckpointError
from partreid.files import nameable
from partreid.models.backbones.file_reading import (
    QUANTISED,
    Attributes,
    Call,
    Parts,
    Step,
    assemble,
    image_shape,
    one_only,
)
from partreid.models.backbones.nodes import Graph
from partreid.models.backbones.openvino_operations import NEWEST_OPSET, OPERATIONS

_LARGEST_XML = 32 * 2**20
"""Largest ``.xml`` file in bytes. A layer takes about one thousand."""
_MOST_ELEMENTS = 300_000
_DEEPEST = 50
_LONGEST = 2000
"""Most characters of an attribute that contains numbers."""
_TYPES = {"f32": "<f4", "f16": "<f2", "f64": "<f8", "i64": "<i8", "i32": "<i4"}


def read_openvino(path: Path) -> Graph:
    """The graph of an ``.xml`` file. The numbers stay in the ``.bin`` beside it until they are needed.

    Raises:
        CheckpointError: the file is missing or damaged, or has an operation, a type or a size that is not supported.
    """
    path = nameable(path, error=CheckpointError)
    if not path.is_file():
        raise CheckpointError(f"There is no network file {path}.")
    try:
        layers, edges = _layers(path)
        numbers = _numbers(path.with_suffix(".bin"))
        return assemble(_Reader(path, layers, edges, numbers).parts())
    except (KeyError, ValueError, OSError, ElementTree.ParseError) as error:
        told = f"it lacks {error}" if isinstance(error, KeyError) else str(error).rstrip(".")
        raise CheckpointError(f"{path} cannot be read as an OpenVINO network: {told:.500}.") from None


def _layers(path: Path) -> tuple[ElementTree.Element, ElementTree.Element]:
    if path.stat().st_size > _LARGEST_XML:
        raise ValueError(f"a graph of {path.stat().st_size} bytes; at most {_LARGEST_XML} are allowed")
    text = path.read_bytes().decode("utf-8")  # as text, so that no encoding can hide a document type
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("it declares a document type or entities of its own, which no network needs")
    parser: Any = ElementTree.XMLPullParser(events=("start", "end"))
    root: Any = None
    depth = count = 0
    for start in range(0, len(text), 2**16):
        parser.feed(text[start : start + 2**16])
        for event, element in parser.read_events():
            root = element if root is None else root
            depth += 1 if event == "start" else -1
            count += event == "start"
            if depth > _DEEPEST or count > _MOST_ELEMENTS:
                raise ValueError(f"more than {_MOST_ELEMENTS} elements, or more than {_DEEPEST} within each other")
    parser.close()
    if root is None or root.tag != "net":
        raise ValueError("expected <net> with <layers> and <edges>")
    layers, edges = root.find("layers"), root.find("edges")
    if layers is None or edges is None:
        raise ValueError("expected <net> with <layers> and <edges>")
    return layers, edges


def _numbers(path: Path) -> np.ndarray:
    if not path.is_file():
        raise ValueError(f"there is no {path}: such a network is an .xml file and the .bin beside it")
    return np.memmap(path, np.uint8, mode="r") if path.stat().st_size else np.zeros(0, np.uint8)


class _Reader:
    """From layers and edges to :class:`Parts`."""

    def __init__(
        self, path: Path, layers: ElementTree.Element, edges: ElementTree.Element, numbers: np.ndarray
    ) -> None:
        self.path, self.numbers = path, numbers
        self.layers = {layer.attrib["id"]: layer for layer in layers}
        if len(self.layers) != len(layers):
            raise ValueError("two layers have the same id")
        self.inputs: dict[str, dict[int, tuple[str, int]]] = {identity: {} for identity in self.layers}
        for edge in edges:
            to, port = edge.attrib["to-layer"], int(edge.attrib["to-port"])
            if to not in self.layers or edge.attrib["from-layer"] not in self.layers:
                raise ValueError(f"an edge leads from layer {edge.attrib['from-layer']!r:.40} to {to!r:.40}, "
                                 "and one of them is not there")  # fmt: skip
            if port in self.inputs[to]:
                raise ValueError(f"two edges lead to port {port} of layer {to!r:.40}")
            self.inputs[to][port] = (edge.attrib["from-layer"], int(edge.attrib["from-port"]))
        self.names = dict(self._unique_names())
        self.ports = {
            identity: [int(port.attrib["id"]) for port in layer.findall("output/port")]
            for identity, layer in self.layers.items()
        }

    def _unique_names(self) -> Iterator[tuple[str, str]]:
        taken = set[str]()
        for identity, layer in self.layers.items():
            name = layer.attrib.get("name") or identity
            name = f"{name}.{identity}" if name in taken else name
            taken.add(name)
            yield identity, name

    def _kind(self, identity: str) -> str:
        return self.layers[identity].attrib["type"]

    def parts(self) -> Parts:
        """All layers, in the order of the file."""
        named = {kind: [one for one in self.layers if self._kind(one) == kind] for kind in ("Parameter", "Result")}
        names = {self.names[identity]: identity for identity in self.layers}
        image = names[one_only("input", [self.names[one] for one in named["Parameter"]])]
        answers = {self._source(self.inputs[one][0]): None for one in named["Result"]}
        shape, one_image = image_shape(self._input_sizes(image))
        parts = Parts(str(self.path), self.names[image], one_only("output", list(answers)), shape, one_image, 0)
        parts.further[self.path.with_suffix(".bin")] = len(self.numbers)
        for identity in self.layers:
            self._add(parts, identity)
        return parts

    def _input_sizes(self, identity: str) -> list[int | None]:
        data = self._data(identity)
        if data.get("element_type") not in ("f32", "f16", "f64"):
            raise ValueError(f"expected images of floating-point numbers, got {data.get('element_type')!r:.40}")
        sizes = [one.strip() for one in _short(data["shape"]).split(",")]
        return [int(one) if one.isdigit() else None for one in sizes]

    def _data(self, identity: str) -> dict[str, str]:
        data = self.layers[identity].find("data")
        return {} if data is None else dict(data.attrib)

    def _add(self, parts: Parts, identity: str) -> None:
        kind, name = self._kind(identity), self.names[identity]
        if kind in ("Parameter", "Result") or self._repeats_constant(identity):
            return
        if kind == "Const":
            if name in parts.constants:
                raise ValueError(f"two things are named {name!r:.80}")
            parts.constants[name] = self._constant(identity, name)
            return
        try:
            edges = self.inputs[identity]
            if sorted(edges) != list(range(len(edges))) or not edges:
                raise ValueError("it lacks an input")
            outputs = tuple(self._value(identity, port) for port in self.ports[identity]) or (name,)
            call = self._call(identity, len(outputs))
        except ValueError as error:
            raise ValueError(f"the operation {kind!r:.40} {name!r:.80}: {error}") from None
        sources = tuple(self._source(edges[port]) for port in range(len(edges)))
        parts.steps.append(Step(kind, sources, outputs, OPERATIONS[kind], call))

    def _call(self, identity: str, outputs: int) -> Call:
        kind, version = self._kind(identity), self.layers[identity].attrib.get("version", "")
        if kind in QUANTISED:
            raise ValueError(QUANTISED[kind])
        opset = re.fullmatch(r"opset(\d{1,2})", version)
        if kind not in OPERATIONS or not opset or int(opset[1]) > NEWEST_OPSET:
            raise ValueError(f"it is not supported (version {version!r:.40})")
        told = Attributes({key: _short(value) for key, value in self._data(identity).items()}, int(opset[1]), outputs)
        call = OPERATIONS[kind].build(told)
        told.finish()
        return call

    def _value(self, identity: str, port: int) -> str:
        """The name of a layer's output at a port."""
        name, ports = self.names[identity], self.ports[identity]
        if not ports or ports[0] == port:
            return name
        if port not in ports:
            raise ValueError(f"layer {name!r:.80} has no output {port}")
        return f"{name}:{ports.index(port)}"

    def _repeats_constant(self, identity: str) -> bool:
        """Whether a layer only converts a constant to wider floats. All weights are converted anyway."""
        if self._kind(identity) != "Convert" or not self._data(identity).get("destination_type", "").startswith("f"):
            return False
        source = self.inputs[identity].get(0, ("", 0))[0]
        return source in self.layers and self._kind(source) == "Const" and "f" in self._data(source)["element_type"]

    def _source(self, edge: tuple[str, int]) -> str:
        """The name of an edge's value."""
        identity, port = edge
        if self._repeats_constant(identity):
            identity, port = self.inputs[identity][0]
        return self._value(identity, port)

    def _constant(self, identity: str, name: str) -> partial[np.ndarray]:
        """A function that reads the numbers of a Const layer from the file."""
        data = self._data(identity)
        kind = data["element_type"]
        if kind not in _TYPES:
            return partial(_refuse, f"the constant {name!r:.80} is of the type {kind!r:.40}, which is not supported; "
                           f"expected {', '.join(_TYPES)}")  # fmt: skip
        shape = [int(one) for one in _short(data["shape"]).split(",") if one.strip()]
        offset, size = int(data["offset"]), int(data["size"])
        if min((*shape, offset, size)) < 0 or prod(shape) * np.dtype(_TYPES[kind]).itemsize != size:
            raise ValueError(f"the constant {name!r:.80} of shape {shape} claims {size} bytes")
        if offset + size > len(self.numbers):
            raise ValueError(f"the constant {name!r:.80} ends at byte {offset + size} of a .bin of {len(self.numbers)}")
        return partial(_read, self.numbers, offset, size, _TYPES[kind], shape)


def _refuse(message: str) -> np.ndarray:
    raise ValueError(message)


def _read(numbers: np.ndarray, offset: int, size: int, kind: str, shape: list[int]) -> np.ndarray:
    return np.frombuffer(numbers[offset : offset + size], kind).reshape(shape)


def _short(text: str) -> str:
    if len(text) > _LONGEST:
        raise ValueError(f"an attribute of {len(text)} characters")
    return text
