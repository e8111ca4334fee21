"""A compaction that is killed at a certain step: for tests that look at what it leaves."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from partreid.retrieval.stores.lance.store import LanceStore

_STEPS = ("open", "os.rename", "os.remove", "os.mkdir", "os.utime", "os.chmod", "os.scandir")


def compact_until(folder: str, step: int) -> None:
    """Compact a gallery; at so many steps on files of its folder the process kills itself."""
    store = LanceStore(Path(folder), create=False)
    left = step

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in _STEPS and arguments and str(arguments[0]).startswith(folder):
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    store.compact()
