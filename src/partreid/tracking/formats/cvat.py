"""CVAT's own XML 1.1, of videos (tracks) and of images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from partreid.errors import DataError
from partreid.tracking._box_rows import BoxRows, frame_of, number_of

_SHAPES = frozenset(("polygon", "polyline", "points", "cuboid", "ellipse", "mask", "skeleton"))


def read_cvat(path: Path) -> BoxRows:
    """All boxes. Frames and pixels count from 0. A box that is ``outside`` is of somebody who is not there: its
    visibility is 0. Other shapes and turned boxes are left out and counted in the note.

    Raises:
        DataError: it is no such XML, or a value is none.
    """
    reader = _Reader(path, BoxRows(path, "xyxy"))
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda tag, attributes: reader.start(tag, attributes, parser.CurrentLineNumber)
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = reader.doctype
    try:
        with path.open("rb") as file:
            parser.ParseFile(file)
    except (expat.ExpatError, OSError) as error:
        raise DataError(f"{path} cannot be read as XML: {error}. Export it again.") from None
    if not reader.known:
        raise DataError(f"{path} is XML, but not CVAT's: expected 'annotations' with tracks or images of boxes.")
    if reader.others:
        shapes = ", ".join(f"{count} {what}" for what, count in reader.others.most_common())
        reader.rows.note = f"{path}: left out what is no upright box: {shapes}"
    return reader.rows


@dataclass
class _Reader:
    """What is read so far: the attributes of the track or image that is open, and whether any came."""

    path: Path
    rows: BoxRows
    track: Mapping[str, str] | None = None
    image: Mapping[str, str] | None = None
    tags: list[str] = field(default_factory=list)
    known: bool = False
    size: dict[str, str] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)

    def doctype(self, *_: object) -> None:
        raise DataError(f"{self.path} has a DOCTYPE, which CVAT does not write, and which may unpack without end.")

    def start(self, tag: str, attributes: Mapping[str, str], line: int) -> None:
        self.tags.append(tag)
        if tag == "annotations" and len(self.tags) == 1:
            self.known = True
        elif tag == "track":
            self.track = attributes
        elif tag == "image":
            self.image = attributes
            self._image_size(attributes, f"{self.path}, line {line}")
        elif tag == "box" and (self.track is not None or self.image is not None):
            self._box(attributes, line)
        elif tag in _SHAPES and (self.track is not None or self.image is not None):
            self.others[tag] += 1

    def text(self, text: str) -> None:
        if self.tags[-2:-1] == ["original_size"]:
            self.size[self.tags[-1]] = self.size.get(self.tags[-1], "") + text

    def end(self, tag: str) -> None:
        self.tags.pop()
        if tag == "track":
            self.track = None
        elif tag == "image":
            self.image = None
        elif tag == "original_size":
            where = f"{self.path}, original_size"
            width, height = (number_of(self.size.get(side, "").strip(), where) for side in ("width", "height"))
            self.rows.sizes[""] = width, height

    def _image_size(self, image: Mapping[str, str], where: str) -> None:
        if "name" not in image:
            raise DataError(f"{where}: expected an image with a name.")
        if "width" in image and "height" in image:
            self.rows.sizes[image["name"]] = number_of(image["width"], where), number_of(image["height"], where)

    def _box(self, box: Mapping[str, str], line: int) -> None:
        where = f"{self.path}, line {line}"
        if number_of(box.get("rotation", "0"), where) % 360:
            self.others["turned box"] += 1
            return
        corners = [number_of(box.get(name, ""), where) for name in ("xtl", "ytl", "xbr", "ybr")]
        if self.track is not None:
            frame, image, label = frame_of(box.get("frame", ""), where, 0), "", self.track.get("label", "")
        else:
            assert self.image is not None
            frame, image, label = 0, self.image["name"], box.get("label", "")
        self.rows.add(
            line,
            corners,
            frame=frame,
            image=image,
            track="" if self.track is None else self.track.get("id", ""),
            kind=label,
            visible=0.0 if box.get("outside") == "1" else float("nan"),
        )
