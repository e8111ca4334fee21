"""A network in its own files: how it is named, and its bytes, which a checkpoint includes."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from partreid.errors import CheckpointError
from partreid.files import nameable

FILE_KINDS = {"openvino/": ".xml", "onnx/": ".onnx"}
"""The prefix of a backbone's name that means a network file, with the suffixes of such files."""

PLAIN_NAME = re.compile(r"[A-Za-z0-9_][\w.-]{0,199}", re.ASCII)
"""Allowed names of files in a checkpoint. They are valid on every system, and cannot lead out of the folder."""


class NetworkName(NamedTuple):
    """``openvino/FILE.xml#MAP`` taken apart.

    Attributes:
        kind: "openvino/" or "onnx/". path: the file. map_name: the value that is the feature map; None = none is named.
    """

    kind: str
    path: Path
    map_name: str | None

    @classmethod
    def of(cls, name: str) -> NetworkName | None:
        """The parts of a backbone's name; None if the backbone is not a file.

        Example:
            >>> NetworkName.of("openvino/nets/a.xml#last")
            NetworkName(kind='openvino/', path=PosixPath('nets/a.xml'), map_name='last')
        """
        kind = name[: name.find("/") + 1]
        if kind not in FILE_KINDS:
            return None
        path = name[len(kind) :]
        whole, mark, map_name = path.rpartition("#")
        if mark and not nameable(path, error=CheckpointError).exists():
            return cls(kind, nameable(whole, error=CheckpointError), map_name)
        return cls(kind, Path(path), None)

    def at(self, path: Path) -> str:
        """The name of the same network with its file at another path."""
        return f"{self.kind}{path.as_posix()}{'' if self.map_name is None else f'#{self.map_name}'}"

    def stamp(self) -> tuple[tuple[int, int], ...]:
        """Times and sizes of the files, which change whenever the files do; empty if the files are gone."""
        files = [file for file in (self.path, self.path.with_suffix(".bin")) if file.is_file()]
        return tuple((stat.st_mtime_ns, stat.st_size) for stat in (file.stat() for file in files))


@dataclass(frozen=True, eq=False)
class NetworkFiles:
    """The bytes of a network's files. A model keeps them, so that it can be saved even if the files move.

    Attributes:
        content: by plain names; the graph's file is first.
    """

    content: Mapping[str, bytes]

    @classmethod
    def read(cls, kind: str, paths: Sequence[Path]) -> NetworkFiles:
        """Read the files in their present state.

        Args:
            kind: "openvino/" or "onnx/". paths: the graph's file first; the others must lie beside it.

        Raises:
            CheckpointError: a file cannot be read, or lies in another folder.
        """
        content = {}
        for path in paths:
            name = plain_name(path.name)
            # OpenVINO's second file has the name of the first; ONNX's graph contains the names of the others.
            fixed = kind == "onnx/" and path != paths[0]
            if fixed and (name != path.name or path.parent != paths[0].parent):
                raise CheckpointError(
                    f"{paths[0]} has numbers in the file {path}. Expected one beside it whose name is of letters, "
                    "digits, points and dashes: save the network anew."
                )
            try:
                content[name] = path.read_bytes()
            except OSError as error:
                raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from None
        return cls(content)

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each file's content by its plain name."""
        return {name: hashlib.sha256(data).hexdigest() for name, data in self.content.items()}

    @property
    def main(self) -> str:
        """The plain name of the graph's file."""
        return next(iter(self.content))

    def write(self, folder: Path) -> None:
        """Write the files into a new folder. OSError: a file cannot be written."""
        folder.mkdir(exist_ok=True)
        for name, data in self.content.items():
            (folder / name).write_bytes(data)


def plain_name(name: str) -> str:
    """A file's name, with "_" for each character that some system does not allow.

    Example:
        >>> plain_name("Netz (2).xml")
        'Netz__2_.xml'
    """
    stem, point, suffix = name.rpartition(".")
    plain = re.sub(r"[^\w.-]", "_", stem if point else name, flags=re.ASCII).lstrip(".-")[:100] or "network"
    return f"{plain}{point}{re.sub(r'[^A-Za-z0-9_-]', '_', suffix) if point else ''}"


def as_network(path: Path) -> str:
    """The name by which a file is used as a network from another program.

    Example:
        >>> as_network(Path("nets/a.onnx"))
        'onnx/nets/a.onnx'
    """
    kinds = [kind for kind, suffix in FILE_KINDS.items() if suffix == path.suffix]
    return f"{kinds[0] if kinds else 'openvino/'}{path}"


def is_network_file(source: object) -> bool:
    """Whether a source names a network file, ``"openvino/FILE.xml"``, that is used unchanged.

    Raises:
        CheckpointError: the name may mean two files.
    """
    named = NetworkName.of(source) if isinstance(source, str) else None
    if named is None or named.path.suffix != FILE_KINDS[named.kind]:
        return False
    assert isinstance(source, str)
    if not Path(source).exists():
        return True
    if named.path.exists():
        raise CheckpointError(
            f"{source} may be the network file {named.path}, taken as it is, or the exported file ./{source}. Give "
            f"the first with its whole path ({named.at(named.path.absolute())}), the second as ./{source}."
        )
    return False


def lies_in(path: Path, folder: Path) -> bool:
    """Whether a path stays in a folder after following links. Links in the Hub's cache may lead to its own store."""
    allowed = [Path(os.path.realpath(folder))]
    for place in (folder.absolute(), *folder.absolute().parents):
        if place.name == "snapshots" and place.parent.name.startswith("models--"):
            allowed.append(Path(os.path.realpath(place.parent / "blobs")))
    target = Path(os.path.realpath(path))  # unlike resolve, it raises no error for a link to itself
    return any(target.is_relative_to(one) for one in allowed)
