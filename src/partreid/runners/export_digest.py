"""Whether an exported file is what was exported: a checksum of all its bytes, and of its weights' where they lie apart.

The checksum stands among the file's own metadata, as text of fixed length. It is that of the file with zeros in its
place, so that neither ONNX nor OpenVINO is needed to write or to check it.
"""

from __future__ import annotations

import hashlib
import mmap
import re
from pathlib import Path

from partreid.errors import CheckpointError

_MARK = "partreid-sha256:"
UNSEALED = _MARK + "0" * 64
"""What stands in a file's metadata until :func:`seal` puts the checksum there."""

_SEAL = re.compile(_MARK.encode() + rb"([0-9a-f]{64})")


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
            "or an edit). Copy the exported files once more, or export the run anew."
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
                    "the weights. Export the run anew."
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
