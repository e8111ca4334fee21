"""A network in files of its own: how it is named, and its bytes, which a checkpoint carries along."""

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
"""What stands before the path in the name of a backbone that is read from a file, and how such files end."""

PLAIN_NAME = re.compile(r"[A-Za-z0-9_][\w.-]{0,199}", re.ASCII)
"""Names that files in a checkpoint may have: the same on every system, and none leads out of its folder."""


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
        """The parts of a backbone's name; None of a backbone that is no file.

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
        """The name of the same network where its file lies elsewhere."""
        return f"{self.kind}{path.as_posix()}{'' if self.map_name is None else f'#{self.map_name}'}"

    def stamp(self) -> tuple[tuple[int, int], ...]:
        """What changes whenever the files do; empty where they are gone."""
        files = [file for file in (self.path, self.path.with_suffix(".bin")) if file.is_file()]
        return tuple((stat.st_mtime_ns, stat.st_size) for stat in (file.stat() for file in files))


@dataclass(frozen=True, eq=False)
class NetworkFiles:
    """The bytes of a network's files. A model holds them, so that it can be saved wherever its files are by then.

    Attributes:
        content: by plain names, the graph's file first.
    """

    content: Mapping[str, bytes]

    @classmethod
    def read(cls, kind: str, paths: Sequence[Path]) -> NetworkFiles:
        """The files as they are now.

        Args:
            kind: "openvino/" or "onnx/". paths: the graph's file first; the others are found by their names, beside it.

        Raises:
            CheckpointError: one cannot be read, or lies elsewhere.
        """
        content = {}
        for path in paths:
            name = plain_name(path.name)
            # OpenVINO calls the second file as the first; ONNX's graph holds the names of its others.
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
        """Write the files into a folder, which is made. OSError: one cannot be written."""
        folder.mkdir(exist_ok=True)
        for name, data in self.content.items():
            (folder / name).write_bytes(data)


def plain_name(name: str) -> str:
    """A file's name with "_" in the place of what not every system takes.

    Example:
        >>> plain_name("Netz (2).xml")
        'Netz__2_.xml'
    """
    stem, point, suffix = name.rpartition(".")
    plain = re.sub(r"[^\w.-]", "_", stem if point else name, flags=re.ASCII).lstrip(".-")[:100] or "network"
    return f"{plain}{point}{re.sub(r'[^A-Za-z0-9_-]', '_', suffix) if point else ''}"


def as_network(path: Path) -> str:
    """The name that takes a file for a network of another origin.

    Example:
        >>> as_network(Path("nets/a.onnx"))
        'onnx/nets/a.onnx'
    """
    kinds = [kind for kind, suffix in FILE_KINDS.items() if suffix == path.suffix]
    return f"{kinds[0] if kinds else 'openvino/'}{path}"


def is_network_file(source: object) -> bool:
    """Whether a source is the name of a network file, ``"openvino/FILE.xml"``, to be taken as it is.

    Raises:
        CheckpointError: two files may be meant.
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
    """Whether a path, links followed, stays in a folder. Links of the Hub's cache may lead to its own store."""
    allowed = [Path(os.path.realpath(folder))]
    for place in (folder.absolute(), *folder.absolute().parents):
        if place.name == "snapshots" and place.parent.name.startswith("models--"):
            allowed.append(Path(os.path.realpath(place.parent / "blobs")))
    target = Path(os.path.realpath(path))  # unlike resolve, no error of a link to itself
    return any(target.is_relative_to(one) for one in allowed)
