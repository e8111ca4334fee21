"""The doors: what stands at them, and that nothing is loaded before it is asked for."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import partreid
from tests.api.public_api import DOORS, LISTED, listing, names

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", *(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md")))]
HEAVY = ("torch", "numpy", "pydantic", "matplotlib", "lightning", "lightning_fabric", "lance", "pyarrow", "PIL",
         "huggingface_hub", "tensorboard")  # fmt: skip

OPTIONAL = ("anny", "av", "lance", "lightning_fabric", "matplotlib", "nncf", "onnx", "onnxruntime", "openvino",
            "psycopg", "pyarrow", "qdrant_client", "starlette", "tensorboard", "torchvision", "typer",
            "warp")  # fmt: skip


def test_the_public_api_is_as_listed() -> None:
    assert listing() == LISTED.read_text(encoding="utf-8"), (
        "The public API has changed. If that is meant, renew the list with `python -m tests.api.public_api`, and tell "
        "users in CHANGELOG.md which names moved or went."
    )


@pytest.mark.parametrize("door", DOORS)
def test_everything_at_a_door_is_documented_and_ours(door: str) -> None:
    module = importlib.import_module(door)
    assert len(names(door)) == len(set(names(door)))
    for name in names(door):
        thing = getattr(module, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert inspect.getdoc(thing), name
            assert thing.__module__.startswith("partreid."), name


@pytest.mark.parametrize("door", DOORS)
def test_no_public_name_is_a_submodule_too(door: str) -> None:
    """Once such a submodule is imported, Python puts it in the place of the name."""
    module = importlib.import_module(door)
    submodules = {found.name for found in pkgutil.iter_modules(getattr(module, "__path__", []))}
    assert submodules & set(names(door)) == set()


@pytest.mark.parametrize("door", [d for d in DOORS if d != "partreid.datasets.readers"])
def test_a_door_loads_nothing_before_it_is_asked(door: str) -> None:
    assert _loads(f"import {door}; dir({door})") == set()


@pytest.mark.parametrize("words", [["--help"], ["--version"], [], ["gallery", "--help"], ["galery"]])
def test_help_loads_nothing_that_it_does_not_need(words: list[str]) -> None:
    loaded = _loads(f"sys.argv = ['partreid', *{words}]; from partreid.cli import main; main()")
    assert loaded <= (set() if words == ["--help"] else {"pydantic"}), "Typer reads words with pydantic"


def test_no_library_is_imported_before_the_work_that_needs_it() -> None:
    assert _loads("from partreid import *", OPTIONAL) == set()


def _loads(code: str, watched: tuple[str, ...] = HEAVY) -> set[str]:
    """Which of the watched modules a new interpreter has loaded after this."""
    code = f"import sys\ntry: {code}\nexcept SystemExit: pass\nprint('loaded', *set({watched}) & sys.modules.keys())"
    run = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
                         capture_output=True, text=True, check=True)  # fmt: skip
    return set(run.stdout.splitlines()[-1].split()[1:])


def test_a_name_that_is_not_there_is_answered_with_the_nearest() -> None:
    with pytest.raises(AttributeError, match=r"partreid has no 'Galery'\. Did you mean 'Gallery'\?"):
        _ = partreid.Galery
    with pytest.raises(AttributeError, match=r"partreid\.viz has no 'xyzzy'\. dir\(partreid\.viz\) lists"):
        _ = partreid.viz.xyzzy
    assert not hasattr(partreid, "_Gallery")


def test_an_unknown_name_is_an_import_error_where_it_is_imported() -> None:
    with pytest.raises(ImportError, match=r"partreid has no 'Galery'\. Did you mean 'Gallery'\?"):
        from partreid import Galery  # type: ignore[attr-defined]  # noqa: F401
    assert importlib.import_module("partreid.types") is not None
    assert not hasattr(partreid, "Galery")


FROZEN = """
import importlib, types, partreid.doors

def getsource(module):
    raise OSError("could not get source code")

partreid.doors.inspect = types.SimpleNamespace(getsource=getsource)
for door in {doors}:
    module = importlib.import_module(door)
    for name in module.__all__:
        thing = getattr(module, name)
        print(door, name, type(thing).__name__, getattr(thing, "__module__", ""), getattr(thing, "__qualname__", ""))
"""


def test_doors_open_in_an_application_that_carries_no_source() -> None:
    doors = [door for door in DOORS if hasattr(importlib.import_module(door), "__all__")]
    run = subprocess.run([sys.executable, "-c", FROZEN.format(doors=doors)], capture_output=True, text=True, check=True,
                         env={**os.environ, "PYTHONPATH": str(ROOT / "src")})  # fmt: skip
    found = [line.split(" ") for line in run.stdout.splitlines()]
    assert len(found) > 200
    for door, name, kind, module, qualname in found:
        thing = getattr(importlib.import_module(door), name)
        expected = type(thing).__name__, getattr(thing, "__module__", ""), getattr(thing, "__qualname__", "")
        assert (kind, module, qualname) == expected, f"{door}.{name}"


def test_a_door_behaves_as_a_module_with_its_names() -> None:
    found: dict[str, object] = {}
    exec("from partreid import *", found)
    assert set(partreid.__all__) == set(dir(partreid)) == found.keys() - {"__builtins__"}
    assert found["Tracklet"] is partreid.tracking.Tracklet is partreid.tracking.tracklets.Tracklet


@pytest.mark.parametrize("page", PAGES)
def test_documentation_imports_from_the_doors(page: str) -> None:
    for block in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Import):
                assert all(one.name in DOORS for one in node.names if one.name.startswith("partreid")), block
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("partreid"):
                assert node.module in DOORS, f"{page}: import from a door: {ast.unparse(node)}"
                missing = {one.name for one in node.names} - set(names(node.module))
                assert not missing, f"{page}: {node.module} has no {missing}"
