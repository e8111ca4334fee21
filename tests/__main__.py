"""``python -m tests [PYTEST'S OPTIONS]``: the suite in two processes at once, as long as each other.

pytest-xdist would share the tests out one by one, but it cannot carry names of any bytes between its processes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parent
FIRST = ("app", "cli", "datasets", "e2e", "experiments", "export", "labels", "reports", "viz")
"""Folders that take half of the time; everything else is the other half."""


def main(options: list[str]) -> int:
    """Run both halves, print one after the other, and return the worse exit status."""
    folders = {path.name for path in TESTS.iterdir() if path.is_dir() and any(path.rglob("test_*.py"))}
    first = [str(TESTS / name) for name in FIRST]
    second = [str(TESTS / name) for name in sorted(folders - set(FIRST))]
    second += map(str, sorted(TESTS.glob("test_*.py")))
    with tempfile.TemporaryFile() as output:
        beside = subprocess.Popen([sys.executable, "-m", "pytest", *second, *options], stdout=output, stderr=output)
        try:
            status = subprocess.run([sys.executable, "-m", "pytest", *first, *options]).returncode
            status = max(status, beside.wait())
        finally:
            beside.kill()
        output.seek(0)
        sys.stdout.flush()
        sys.stdout.buffer.write(output.read())
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
