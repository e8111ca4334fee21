"""Started anywhere: without a home, without rights, in a job of a cluster, in a container, beside other programs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import platformdirs
import pytest
import torch
from lightning_fabric.utilities.rank_zero import rank_zero_only

import partreid
from partreid import surroundings
from partreid.cli import commands
from partreid.datasets.readers import read_dataset
from partreid.errors import ConfigError
from partreid.runtime import RuntimeConfig
from partreid.surroundings import cache_folder, ensure_home, usable_cores
from partreid.training.callbacks import TensorBoardCallback
from partreid.training.loop import Trainer
from tests.conftest import tiny_config

SOURCES = str(Path(partreid.__file__).parents[1])


def python(code: str, **variables: str) -> str:
    """What a new interpreter prints, which has these variables of the environment and no others."""
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": SOURCES, **variables}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def forget(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Take variables away until the end of the test, also those that it sets itself."""
    for name in (*names, "XDG_CACHE_HOME", "MPLCONFIGDIR", surroundings.CACHE_VARIABLE):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A process without a home of a user that the system does not know; returns its folder for temporary files."""
    forget(monkeypatch, "HOME", "USER")

    def unknown(*args: object, **options: object) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(platformdirs, "user_cache_path", unknown)
    monkeypatch.setattr(Path, "home", unknown)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_cache_of_a_user_without_a_home_is_a_private_temporary_folder(nobody: Path) -> None:
    folder = cache_folder()
    assert folder.parent == nobody / f"partreid-{os.getuid()}"
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    assert cache_folder() == folder
    ensure_home()
    assert os.environ["HOME"] == str(folder.parent)
    assert Path(os.path.expanduser("~/x")) == folder.parent / "x"  # noqa: PTH111
    assert os.environ["USER"] == str(os.getuid())


@pytest.mark.parametrize("trap", ["link", "open to all", "a file"])
def test_a_temporary_folder_that_another_may_have_put_there_is_not_trusted(trap: str, nobody: Path) -> None:
    place = nobody / f"partreid-{os.getuid()}"
    if trap == "link":
        (nobody / "elsewhere").mkdir(mode=0o700)
        place.symlink_to(nobody / "elsewhere")
    elif trap == "open to all":
        place.mkdir()
        place.chmod(0o777)
    else:
        place.touch()
    for ask in (cache_folder, ensure_home):
        with pytest.raises(ConfigError, match=r"PARTREID_CACHE, and set HOME"):
            ask()


def test_without_any_folder_for_temporary_files(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    with pytest.raises(ConfigError, match=r"No usable temporary directory.* PARTREID_CACHE"):
        cache_folder()
    monkeypatch.setenv("PARTREID_CACHE", str(nobody / "mine"))
    assert cache_folder() == nobody / "mine"


def test_a_home_that_cannot_be_written_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forget(monkeypatch, "HOME")
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    assert cache_folder().is_relative_to(tmp_path / f"partreid-{os.getuid()}")
    ensure_home()
    assert os.environ["HOME"] == str(tmp_path / "file"), "it is still the user's"
    assert Path(os.environ["XDG_CACHE_HOME"]) == tmp_path / f"partreid-{os.getuid()}"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    ensure_home()
    assert "XDG_CACHE_HOME" not in os.environ
    assert cache_folder() == tmp_path / ".cache" / "partreid"


@pytest.mark.skipif(sys.platform != "linux", reason="needs user namespaces")
def test_a_command_in_a_container_without_a_user(tmp_path: Path) -> None:
    start = ["unshare", "-U", "--map-user=12345", "--map-group=12345"]
    if subprocess.run([*start, "true"], capture_output=True).returncode:
        pytest.skip("user namespaces are not allowed here")
    code = (
        "from partreid.cli import main; import sys; sys.argv = ['partreid', '--version']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "from partreid.surroundings import cache_folder\n"
        "from partreid.datasets.synthetic.shipped import shipped_split\n"
        "import matplotlib, huggingface_hub.constants as hub; matplotlib.get_cachedir()\n"
        "print(shipped_split()); print(hub.HF_HOME); print(cache_folder())"
    )
    variables = {"PYTHONPATH": SOURCES, "TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    tmp_path.chmod(0o777)
    done = subprocess.run([*start, sys.executable, "-c", code], env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(line.startswith(f"{tmp_path}/partreid-12345") for line in done.stdout.splitlines()[1:]), done.stdout


def test_threads_that_wait_sleep_soon_unless_the_user_says_otherwise() -> None:
    code = "import partreid, os; print(os.environ.get('GOMP_SPINCOUNT'))"
    assert python(code) == "10000"
    assert python(code, GOMP_SPINCOUNT="5") == "5"
    assert python(code, OMP_WAIT_POLICY="active") == "None"
    first = "import sys; from partreid import PartExtractor; m = list(sys.modules); "
    assert python(first + "print(m.index('partreid.surroundings') < m.index('torch'))") == "True"


CLUSTERS = {
    "Slurm": {
        "SLURM_NTASKS": "4",
        "SLURM_JOB_NAME": "train",
        "SLURM_JOB_ID": "7",
        "SLURM_PROCID": "2",
        "SLURM_LOCALID": "2",
    },
    "LSF": {"LSB_JOBID": "7", "LSB_DJOB_RANKFILE": "/none", "JSM_NAMESPACE_LOCAL_RANK": "1", "JSM_NAMESPACE_SIZE": "4"},
    "PBS": {"PBS_JOBID": "7", "PBS_NODEFILE": "/none", "NCPUS": "4"},
    "Open MPI": {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_LOCAL_RANK": "3"},
    "MPICH": {"PMI_SIZE": "4", "PMI_RANK": "3"},
    "Kubeflow": {"KUBERNETES_PORT": "tcp://1", "MASTER_ADDR": "a", "MASTER_PORT": "1", "WORLD_SIZE": "4", "RANK": "3"},
    "left over": {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "nowhere", "NODE_RANK": "3"},
    "one of torchrun": {"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"},
}


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_the_variables_of_a_cluster_make_no_several_processes(
    cluster: str, blocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CLUSTERS[cluster].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rank_zero_only, "rank", 3)  # what Lightning takes from such variables when it is imported
    trainer = Trainer(
        tiny_config("optimizer.epochs=1"), read_dataset(blocks).train, tmp_path, runtime=RuntimeConfig(device="cpu")
    )
    trainer.callbacks = [TensorBoardCallback(tmp_path)]
    assert (trainer.fabric.world_size, trainer.fabric.global_rank) == (1, 0)
    trainer.fit()
    assert (tmp_path / "checkpoint" / "model.safetensors").is_file()
    assert list((tmp_path / "logs").glob("events.*")), "the curves too"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "20000 100000"}, 1),
        ({"cpu.max": "6400000 100000"}, 8),
        ({"cpu.max": "odd"}, 8),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
    ],
)
def test_processors_are_those_that_a_container_is_granted(
    files: dict[str, str], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(surroundings, "_CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    assert usable_cores() == cores


def test_a_command_starts_no_more_threads_than_it_is_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "usable_cores", lambda: 1)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        commands._fit_threads()
        assert torch.get_num_threads() == 2, "the user's own choice"
        monkeypatch.delenv("OMP_NUM_THREADS")
        commands._fit_threads()
        assert torch.get_num_threads() == 1
        monkeypatch.delitem(sys.modules, "torch")  # it reads the variable when it is imported
        commands._fit_threads()
        assert os.environ.pop("OMP_NUM_THREADS") == "1"
    finally:
        torch.set_num_threads(before)
