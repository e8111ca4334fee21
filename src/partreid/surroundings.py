"""What is made of the environment that partreid is started in: threads that wait, processors, a home that is missing.

It is the first that ``import partreid`` imports, before PyTorch, as :func:`wait_briefly` would come too late after it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from partreid.errors import ConfigError

CACHE_VARIABLE = "PARTREID_CACHE"
"""Environment variable that names the folder of :func:`cache_folder`."""

_CGROUP = Path("/sys/fs/cgroup")
"""Of this process, as a container sees it."""


def wait_briefly() -> None:
    """Let threads that wait for each other spin briefly, then sleep; once PyTorch is imported, nothing changes.

    GNU OpenMP, PyTorch's on Linux, lets them spin for milliseconds instead: beside other programs that keeps the very
    threads from running that are waited for, and a step takes several times as long. On an idle machine sleeping costs
    5 %. ``OMP_WAIT_POLICY`` and ``GOMP_SPINCOUNT`` of the user's own are left alone.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def usable_cores() -> int:
    """Processors that this process may use: what it is bound to, and no more than its container is granted."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, round(min(bound, _granted_cores())))


def cache_folder() -> Path:
    """Where partreid keeps what it can make again: $PARTREID_CACHE, or the user's cache folder.

    Without a home that can be written to, as in many containers, a folder of the user's own among the temporary ones.

    Raises:
        ConfigError: there is no such folder either.
    """
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named)
    import platformdirs

    try:
        folder = platformdirs.user_cache_path("partreid")
    except RuntimeError:  # HOME is not set, and the system does not know the user
        return _temporary_home() / "partreid"
    return folder if _can_be(folder) else _temporary_home() / "partreid"


def ensure_home() -> None:
    """Give the libraries under partreid a place for their caches where the user has none; for the commands.

    Raises:
        ConfigError: as :func:`cache_folder`.
    """
    try:
        home = Path.home()
    except RuntimeError:
        os.environ["HOME"] = str(_temporary_home())
        os.environ.setdefault("USER", str(_user()))  # getpass, which some of them ask, knows no such user
        return
    if "XDG_CACHE_HOME" not in os.environ and not _can_be(home / ".cache"):
        os.environ["XDG_CACHE_HOME"] = str(_temporary_home())
        os.environ.setdefault("MPLCONFIGDIR", str(_temporary_home() / "matplotlib"))


def _can_be(folder: Path) -> bool:
    """Whether a folder is there or can be made; what is there may be whole, though it cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return True


def _temporary_home() -> Path:
    """A folder that belongs to this user alone: in a common one, anybody may have put another in its place."""
    advice = f"Name a folder that you can write to in the environment variable {CACHE_VARIABLE}, and set HOME to one."
    try:
        folder = Path(tempfile.gettempdir()) / f"partreid-{_user()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as problem:
        raise ConfigError(f"There is no folder for what can be made again: {problem.strerror}. {advice}") from None
    if sys.platform != "win32" and (folder.is_symlink() or found.st_uid != _user() or found.st_mode & 0o022):
        raise ConfigError(f"{folder} is not this user's alone, so it cannot be trusted. {advice}")
    return folder


def _user() -> int:
    return os.getuid() if sys.platform != "win32" else 0


def _granted_cores() -> float:
    """Processors' worth of time that the container may take, infinity where it is not limited."""
    for texts in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):  # the latter is the older interface
        try:
            quota, period = " ".join((_CGROUP / name).read_text() for name in texts).split()
        except (OSError, ValueError):
            continue
        if quota.isdecimal() and period.isdecimal():
            return int(quota) / int(period)
    return float("inf")


wait_briefly()
