"""The content of an asset folder: all pieces that can be worn, and the assets left out, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from partreid.datasets.synthetic.base_mesh import load_base_mesh
from partreid.datasets.synthetic.body import load_body_model
from partreid.datasets.synthetic.makehuman import read_asset
from partreid.datasets.synthetic.pieces import PARTS, Piece, make_pieces
from partreid.datasets.synthetic.wardrobe import Cut, Stock
from partreid.errors import DataError

_KINDS = ("clothes", "hair")
_MOST_ASSETS = 1000


@dataclass(frozen=True)
class Catalogue:
    """The pieces of an asset folder.

    Attributes:
        pieces: by name. stock: the cuts of each part. digests: SHA-256 of each asset used, by name.
        skipped: name of each asset left out, and the reason.
    """

    pieces: Mapping[str, Piece]
    stock: Stock
    digests: Mapping[str, str]
    skipped: tuple[tuple[str, str], ...]


@lru_cache(maxsize=2)
def load_catalogue(folder: Path) -> Catalogue:
    """Read a MakeHuman asset folder, once in a process.

    Args:
        folder: holds ``clothes/NAME/*.mhclo`` and ``hair/NAME/*.mhclo`` at any depth.

    Raises:
        DataError: there is no such folder, or nothing in it can be used.
        MissingDependencyError: anny is not installed.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder. Give a folder of MakeHuman assets, with clothes/ and hair/ in it.")
    base, marks = load_base_mesh(), load_body_model().landmarks
    pieces: dict[str, Piece] = {}
    cuts: dict[str, list[Cut]] = {part: [] for part in PARTS}
    digests, skipped = {}, []
    for path, kind in _assets(folder):
        name = path.relative_to(folder).with_suffix("").as_posix()
        try:
            asset = read_asset(path, folder, kind)
        except DataError as error:
            skipped.append((name, str(error)))
            continue
        made = make_pieces(asset, base, marks)
        if not made:
            skipped.append((name, "it is neither clothes, shoes, a hat nor hair"))
            continue
        digests[name] = asset.digest
        wearer = next((tag for tag in ("female", "male") if tag in asset.tags), "")
        for piece in made:
            pieces[piece.name] = piece
            cuts[piece.part].append(Cut(piece.name, wearer))
    if not pieces:
        reasons = "; ".join(f"{name}: {why}" for name, why in skipped[:3])
        raise DataError(f"{folder} holds no MakeHuman asset that can be used. {reasons or 'It has no .mhclo file.'}")
    return Catalogue(pieces, Stock(**{part: tuple(found) for part, found in cuts.items()}), digests, tuple(skipped))


def _assets(folder: Path) -> list[tuple[Path, str]]:
    """The .mhclo files of clothes and hair, in the order of their names."""
    found = []
    for path in sorted(folder.rglob("*.mhclo")):
        above = [p for p in (folder.name, *path.relative_to(folder).parts[:-1]) if p in _KINDS]
        if above:
            found.append((path, above[-1]))
    if len(found) > _MOST_ASSETS:
        raise DataError(
            f"{folder} holds {len(found)} assets; at most {_MOST_ASSETS} can be used. Give a smaller folder."
        )
    return found
