"""``python -m tests.release``: build the package, and try the wheel as somebody else would install it.

The source distribution and the wheel go into ``dist/``. Their metadata is checked, their content is measured, and the
examples run in an environment that holds the wheel and nothing of this checkout.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
LARGEST = 20 * 10**6
"""Bytes that a wheel may have."""
NEVER = (".pyc", ".pt", ".pth", ".tar")


def build(out: Path) -> tuple[Path, Path]:
    """The wheel and the source distribution, made anew."""
    shutil.rmtree(out, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", out, ROOT)
    (wheel,), (source,) = out.glob("*.whl"), out.glob("*.tar.gz")
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, source)
    return wheel, source


def contents(wheel: Path) -> dict[str, int]:
    """Bytes in the wheel by package and, of files above a tenth of a megabyte, by name.

    Raises:
        SystemExit: the wheel is too large, or holds what no wheel should.
    """
    sizes: Counter[str] = Counter()
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            if entry.filename.endswith(NEVER) or not entry.filename.startswith("partreid"):
                sys.exit(f"{wheel.name} holds {entry.filename}.")
            parts = entry.filename.split("/")
            large = entry.compress_size > 10**5
            sizes[entry.filename if large else "/".join(parts[: min(2, len(parts) - 1)])] += entry.compress_size
    if wheel.stat().st_size > LARGEST:
        sys.exit(f"{wheel.name} has {wheel.stat().st_size / 1e6:.1f} MB, more than {LARGEST / 1e6:.0f}.")
    return dict(sizes.most_common())


def try_out(wheel: Path) -> None:
    """Install the wheel into an empty environment, and run the demo's search and all examples there."""
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        run(sys.executable, "-m", "venv", Path(folder) / "env")
        pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        run(*pip, "-c", ROOT / "constraints.txt", f"{wheel.resolve()}[gallery,export]")
        run(python, "-m", "partreid", "demo", "--quick", cwd=folder)
        for example in sorted((ROOT / "examples").glob("*.py")):
            run(python, example, cwd=folder)


def run(*words: object, cwd: str | Path = ROOT) -> None:
    """Run a program without anything of this checkout on its path, and stop where it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([str(word) for word in words], cwd=cwd, env=environment, check=True)


def main() -> None:
    """All of it."""
    wheel, source = build(ROOT / "dist")
    for name, size in contents(wheel).items():
        sys.stdout.write(f"{size / 1e6:7.2f} MB  {name}\n")
    for file in (wheel, source):
        sys.stdout.write(f"{file.stat().st_size / 1e6:7.2f} MB  {file.name}\n")
    sys.stdout.flush()
    try_out(wheel)


if __name__ == "__main__":
    main()
