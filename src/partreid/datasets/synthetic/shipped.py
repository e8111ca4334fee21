"""The small rendered set that ships with the package: no renderer and no download needed.

``python -m partreid.datasets.synthetic.shipped ASSETS PANORAMAS`` (or ``make shipped ASSETS=… PANORAMAS=…``) renders it
again from :data:`SHIPPED`: MakeHuman clothes under CC0, and Poly Haven's panoramas of the npm package @pmndrs/assets,
under CC0 too. ``synthetic.json`` in the archive has the SHA-256 of each.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import zipfile
from pathlib import Path

from partreid.datasets.synthetic.dataset import render_dataset
from partreid.datasets.synthetic.render_config import SyntheticConfig
from partreid.errors import DataError
from partreid.files import atomic_file
from partreid.surroundings import CACHE_VARIABLE, cache_folder

SHIPPED = SyntheticConfig(
    train_identities=64,
    test_identities=64,
    train_images=12,
    # Two thirds stay whole. With fewer hidden parts the network would not learn what "not visible" looks like.
    train_occluded=0.35,
    train_occlusion=(0.2, 0.7),
    gallery_images=6,
    query_images=3,
    holistic_query_images=1,
    image_height=128,
    image_width=64,
    seed=2023,
    cameras=6,
    samples=4,
)
"""Configuration of the shipped set, without the folders of assets and panoramas."""

ARCHIVE = Path(__file__).with_name("pedestrians.zip")
"""The shipped set, with masks, body regions, occlusion table and manifest."""

_EPOCH = (1980, 1, 1, 0, 0, 0)


def shipped_split() -> Path:
    """The shipped set as a folder in Market-1501 layout, unpacked into the user's cache on first use.

    The folder's name contains the archive's hash, so a new version never uses the files of an old one. Missing or
    shortened files are restored.

    Raises:
        DataError: the archive is missing or damaged, or the cache cannot be written.
    """
    try:
        content = ARCHIVE.read_bytes()
    except OSError as error:
        raise DataError(f"The shipped images {ARCHIVE} cannot be read: {error}. Install partreid again.") from None
    folder = cache_folder() / f"pedestrians-{hashlib.sha256(content).hexdigest()[:12]}" / "pedestrians"
    try:
        with zipfile.ZipFile(ARCHIVE) as archive:
            if not _is_whole(folder, archive):
                _unpack(archive, folder)
    except OSError as error:
        raise DataError(
            f"Cannot unpack the shipped images into {folder}: {error.strerror or error}. "
            f"Free space, or name another folder in the environment variable {CACHE_VARIABLE}."
        ) from None
    except (zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"The shipped images {ARCHIVE} are damaged: {error}. Install partreid again.") from None
    return folder


def build_archive(assets: Path, panoramas: Path) -> None:
    """Render the set and pack it; the same renderer on the same machine gives the same bytes.

    Args:
        assets, panoramas: folders, as :class:`SyntheticConfig` has them.

    Raises:
        MissingDependencyError: the renderer's libraries are not installed.
        DataError: a file cannot be written.
    """
    with tempfile.TemporaryDirectory() as temporary:
        config = SHIPPED.model_copy(update={"assets": assets, "panoramas": panoramas})
        root = render_dataset(config, Path(temporary) / "set", workers=2)
        files = sorted(p for p in root.rglob("*") if p.is_file())
        with atomic_file(ARCHIVE, error=DataError) as partial, zipfile.ZipFile(partial, "w") as archive:
            for file in files:
                entry = zipfile.ZipInfo(file.relative_to(root).as_posix(), _EPOCH)
                # Images are compressed already, but pose fields shrink to a fifth.
                entry.compress_type = zipfile.ZIP_STORED if file.suffix in (".jpg", ".png") else zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, file.read_bytes(), compresslevel=9)


def _unpack(archive: zipfile.ZipFile, folder: Path) -> None:
    """Unpack beside ``folder`` and rename. Nothing is synced to disk: every call checks the files anyway."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pedestrians-", dir=folder.parent) as temporary:
        fresh, broken = Path(temporary) / "fresh", Path(temporary) / "broken"
        archive.extractall(fresh)
        if folder.exists():
            folder.rename(broken)
        try:
            fresh.rename(folder)
        except OSError:
            if not _is_whole(folder, archive):  # another process may have been first
                raise


def _is_whole(folder: Path, archive: zipfile.ZipFile) -> bool:
    """Whether every file exists with its size. Reading every byte each time would cost more than it saves."""
    try:
        return all((folder / entry.filename).stat().st_size == entry.file_size for entry in archive.infolist())
    except OSError:
        return False


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("assets", type=Path, help="folder of MakeHuman assets")
    parser.add_argument("panoramas", type=Path, help="folder of panoramas")
    build_archive(**vars(parser.parse_args()))
