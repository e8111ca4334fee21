"""What keeps the package light and orderly: imports, layers, public names, sizes."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import partreid

PACKAGE = Path(partreid.__file__).parent
ROOT = PACKAGE.parents[1]
SOURCES = sorted(PACKAGE.rglob("*.py"))
OPTIONAL = ("matplotlib", "openvino", "warp", "anny", "tensorboard", "torchvision", "lightning", "lightning_fabric",
            "typer", "huggingface_hub", "lance", "pyarrow", "onnx", "onnxruntime", "onnxscript", "nncf",
            "starlette", "qdrant_client", "psycopg", "av")  # fmt: skip

PUBLIC = {
    "PART_SCHEMAS", "PCB", "BPBReID", "BoT", "EvaluationResult", "Filter", "Gallery", "GalleryItem", "MatchingConfig",
    "ModelConfig", "ModelOutput", "PartEmbeddings", "PartExtractor", "PartReIDError", "PartSchema", "PreprocessConfig",
    "SearchResult", "__version__", "build_network", "evaluate_ranking", "load_checkpoint", "load_official",
    "part_distances", "save_checkpoint",
}  # fmt: skip


def test_importing_partreid_is_light() -> None:
    code = f"import partreid, sys; print(*(m for m in {OPTIONAL!r} if m in sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == []


def test_public_names() -> None:
    assert set(partreid.__all__) == PUBLIC
    assert len(partreid.__all__) == len(PUBLIC)
    for name in partreid.__all__:
        thing = getattr(partreid, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert inspect.getdoc(thing), name
            assert thing.__module__.startswith("partreid."), name


def test_imports_point_down() -> None:
    pytest.importorskip("importlinter")
    code = "from importlinter.cli import lint_imports_command as main; main()"
    run = subprocess.run(
        [sys.executable, "-c", code, "--no-cache"],
        cwd=ROOT, env={"PYTHONPATH": str(PACKAGE.parent)}, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert "0 broken" in run.stdout


def _names(source: Path) -> str:
    return str(source.relative_to(PACKAGE))


def test_files_are_short() -> None:
    lines = {_names(source): len(source.read_text().splitlines()) for source in SOURCES}
    assert {name: count for name, count in lines.items() if count > 350} == {}


def test_every_module_and_public_definition_is_documented() -> None:
    missing = []
    for source in SOURCES:
        tree = ast.parse(source.read_text())
        if not ast.get_docstring(tree):
            missing.append(_names(source))
        for node in tree.body:
            public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
            if public and not ast.get_docstring(node):
                missing.append(f"{_names(source)}: {node.name}")
    assert missing == []


def test_nothing_prints_but_the_command_line() -> None:
    found = []
    for source in SOURCES:
        if source.relative_to(PACKAGE).parts[0] == "cli":
            continue
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                found.append(f"{_names(source)}:{node.lineno}")
    assert found == []


def test_nothing_is_unpickled_freely() -> None:
    """Rule of the stack: ``torch.load`` with ``weights_only=True``, NumPy without pickles, no ``pickle.load``."""
    found = []
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            keywords = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
            call = ast.unparse(node.func)
            if (
                (call == "torch.load" and keywords.get("weights_only") is not True)
                or (call == "np.load" and keywords.get("allow_pickle") is True)
                or call in ("pickle.load", "pickle.loads", "yaml.load", "eval", "exec")
            ):
                found.append(f"{_names(source)}:{node.lineno}: {call}")
    assert found == []


def test_no_constructor_takes_anything_and_no_default_is_mutable() -> None:
    found = []
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            if not isinstance(node, ast.FunctionDef):
                continue
            # pydantic's own signature, in the base of every configuration: its fields are checked one by one.
            if node.name == "__init__" and node.args.kwarg is not None and _names(source) != "base_config.py":
                found.append(f"{_names(source)}:{node.lineno}: **{node.args.kwarg.arg}")
            for default in (*node.args.defaults, *node.args.kw_defaults):
                if isinstance(default, ast.List | ast.Dict | ast.Set):
                    found.append(f"{_names(source)}:{node.lineno}: {node.name} has a mutable default")
    assert found == []
