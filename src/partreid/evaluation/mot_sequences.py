"""Re-association on sequences in MOTChallenge's layout: SEQUENCE/img1, SEQUENCE/gt/gt.txt, SEQUENCE/seqinfo.ini."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partreid.datasets.readers.common import own_name
from partreid.errors import ConfigError, DataError, warn
from partreid.evaluation._reassociation_pairs import PairCollector
from partreid.evaluation.reassociation import GAPS, Reassociation, check_gaps, made
from partreid.inference.extractor import PartExtractor
from partreid.objects import guided
from partreid.progress import Progress, no_progress
from partreid.retrieval.how_compared import HowCompared
from partreid.retrieval.matching import MatchingConfig
from partreid.tracking._box_choice import named
from partreid.tracking.boxes import read_boxes
from partreid.tracking.formats.known import read_rows
from partreid.tracking.frame_folder import SEQINFO, FrameFolder
from partreid.tracking.track_boxes import TrackBoxes
from partreid.tracking.video import OnError, iter_frames
from partreid.tracking.video_tracks import embed_tracks, open_frames
from partreid.types import PartEmbeddings
from partreid.types.numbers import require_whole

_TRUTH = Path("gt", "gt.txt")
_DEPTH = 3
"""Folders between the one that is given and a sequence, at most."""
_DETECTOR = re.compile(r"(.+)-(DPM|FRCNN|SDP)")
_GAP = re.compile(r"([0-9]{1,15})|([0-9]{1,9}(?:\.[0-9]{1,9})?) ?s")


@dataclass(frozen=True, eq=False)
class _Sequence:
    """A sequence with the truth about its boxes.

    Attributes:
        name: its folder, from the one that was given on. frames: its images. boxes: of persons.
        visibility: [N] visible fraction of each box, NaN where the table does not say it.
    """

    name: str
    frames: FrameFolder
    boxes: TrackBoxes
    visibility: NDArray[np.float64]


@guided
def reassociate_sequences(
    extractor: PartExtractor,
    folder: str | Path,
    *,
    gaps: Sequence[int | str] = GAPS,
    every: int = 1,
    matching: MatchingConfig | None = None,
    alone: Sequence[str] | None = None,
    on_error: OnError | None = None,
    progress: Progress = no_progress,
) -> Reassociation:
    """Search for each person some frames later: :func:`~partreid.evaluation.reassociation.reassociate` on sequences.

    Frames are read one at a time, and memory holds only the embeddings of as many frames as the longest gap has. Boxes
    of other classes than person, boxes to be ignored, and boxes without a visible part are left out, as in
    :func:`~partreid.tracking.boxes.read_boxes`. MOT17 contains each sequence three times, once for each detector. It is
    used once, with a warning.

    Args:
        extractor: the model. folder: of a sequence, or one that contains sequences.
        gaps: numbers of frames (10, "10"), or seconds ("2s", by the frame rate of seqinfo.ini).
        every: queries are the boxes in frames 0, every, 2·every, ...; neighbouring frames are nearly the same queries.
        matching, alone: as for ``reassociate``. on_error: called for each damaged frame and wrong box, which is left
            out.
        progress: of the embedding. For an adapted model, each sequence is a camera of its own.

    Raises:
        ConfigError: a gap cannot be read, or is in seconds while the frame rate is unknown.
        ShapeError: ``every`` is below 1, or there is no such slot.
        DataError: there is no sequence, or one cannot be read; a gap is longer than every sequence; nobody reappears
            among others; or as :func:`~partreid.tracking.video_tracks.embed_tracks`.
    """
    every = require_whole("every", every, least=1)
    known = _sequences(Path(folder))
    gaps = (gaps,) if isinstance(gaps, str | int) else gaps
    steps = [{str(gap).strip(): _steps(str(gap).strip(), one) for gap in gaps} for one in known]
    check_gaps(steps, [int(np.ptp(one.boxes.frames)) for one in known])
    rule = HowCompared.of(extractor, matching).matching
    collector = PairCollector(tuple(steps[0]), extractor.slots, rule, alone)
    for one, own in zip(known, steps, strict=True):
        collector.begin(one.name, tuple(own.values()), every=every)
        _embed(extractor, _needed(one, set(own.values()), every), collector, on_error, progress)
    return made(collector)


def _sequences(folder: Path) -> list[_Sequence]:
    """All sequences in a folder, or the one that it is, by name; no image is read yet."""
    found: list[Path] = []
    for depth in range(_DEPTH + 1):
        found += (file.parents[1] for file in folder.glob("/".join(["*"] * depth + [_TRUTH.as_posix()])))
    if not found:
        raise DataError(
            f"{folder} holds no sequence of MOTChallenge: expected SEQUENCE/{_TRUTH.as_posix()} beside SEQUENCE/img1. "
            "Give the folder that holds the sequences, such as MOT17/train."
        )
    return [_read(folder, one) for one in _once(sorted(found))]


def _once(sequences: list[Path]) -> list[Path]:
    """Those whose truth is not that of another detector's copy."""
    kept: dict[tuple[Path, str, bytes], Path] = {}
    left_out = []
    for one in sequences:
        match = _DETECTOR.fullmatch(one.name)
        truth = (one / _TRUTH).read_bytes() if match else b""
        if kept.setdefault((one.parent, match[1] if match else one.name, truth), one) != one:
            left_out.append(one.name)
    if left_out:
        warn(f"Left out {named(left_out, 'sequence')}: the same as others, for another detector.")
    return list(kept.values())


def _read(folder: Path, sequence: Path) -> _Sequence:
    table = sequence / _TRUTH
    boxes = read_boxes(table)
    rows = read_rows(table)
    visible = dict(zip(rows.lines, rows.visible, strict=True))
    frames = open_frames(sequence if (sequence / SEQINFO).is_file() else sequence / "img1", boxes)
    assert isinstance(frames, FrameFolder)
    assert boxes.lines is not None
    name = sequence.relative_to(folder).as_posix() if sequence != folder else own_name(folder)
    return _Sequence(name, frames, boxes, np.array([visible[line] for line in boxes.lines.tolist()]))


def _steps(gap: str, sequence: _Sequence) -> int:
    """A gap in frames of a sequence."""
    match, rate = _GAP.fullmatch(gap), sequence.frames.rate
    if match and match[2] and rate is None:
        raise ConfigError(
            f"The gap {gap!r:.40} is in seconds, but it is not known how many frames a second {sequence.name} has. "
            "Write frameRate in its seqinfo.ini, or give frames."
        )
    steps = 0 if not match else int(match[1]) if match[1] else math.floor(float(match[2]) * (rate or 0) + 0.5)
    if steps < 1:
        raise ConfigError(f"A gap is a number of frames from 1 (10), or of seconds (2s), got {gap!r:.40}.")
    return steps


def _needed(sequence: _Sequence, steps: set[int], every: int) -> _Sequence:
    """The frames that hold queries or candidates."""
    numbers = sequence.boxes.frames
    used_for = [((numbers - step) % every == 0) & (numbers >= step) for step in (0, *steps)]
    rows = np.flatnonzero(np.any(used_for, axis=0))
    boxes = sequence.boxes.only(rows)
    used = set(boxes.frames.tolist())
    pairs = zip(sequence.frames.numbers, sequence.frames.files, strict=True)
    chosen = [(number, file) for number, file in pairs if number in used]
    frames = replace(
        sequence.frames, numbers=tuple(number for number, _ in chosen), files=tuple(file for _, file in chosen)
    )
    return _Sequence(sequence.name, frames, boxes, sequence.visibility[rows])


def _embed(
    extractor: PartExtractor,
    sequence: _Sequence,
    collector: PairCollector,
    on_error: OnError | None,
    progress: Progress,
) -> None:
    boxes = sequence.boxes
    rows: list[int] = []
    waiting: list[PartEmbeddings] = []

    def flush() -> None:
        if rows:
            names = [boxes.names[track] for track in boxes.tracks[rows]]
            collector.add(int(boxes.frames[rows[0]]), names, sequence.visibility[rows], PartEmbeddings.cat(waiting))
        rows.clear()
        waiting.clear()

    def note(row: int, pixels: NDArray[np.uint8], one: PartEmbeddings) -> None:
        if rows and boxes.frames[row] != boxes.frames[rows[0]]:
            flush()
        rows.append(row)
        waiting.append(one)

    with progress(f"embedding {sequence.name}", len(boxes)) as advance:
        embed_tracks(
            extractor,
            iter_frames(sequence.frames, on_error=on_error),
            boxes,
            advance=advance,
            on_error=on_error,
            on_crop=note,
            camera=sequence.name if extractor.adaptation is not None else None,
        )
    flush()
