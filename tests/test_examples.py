"""examples/ runs with what the package brings: the shipped model and the rendered pedestrians."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
SAYS = {
    "01_embed": "(8, 6, 256)",
    "02_compare_two_images": "the same person: distance 0.62 over 6 parts",
    "03_search_a_folder": "  0065\n",
    "04_filter_a_search": "camera 2  12:23",
    "05_one_person_many_crops": "together 6",
    "06_in_a_tracker": "detections are tracks [2, 0, 1]",
    "07_link_cameras": "6 persons",
    "08_evaluate": "query, compared without visibility: mAP",
    "09_train_on_own_images": "slots: global",
    "10_export_to_onnx": "(4, 6, 256)",
}
"""What an example prints, among other things, in float32 and in bfloat16."""
SLOW = {"08_evaluate", "10_export_to_onnx"}
NOTEBOOKS = sorted((EXAMPLES / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in SAYS])
def test_an_example_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert SAYS[name] in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []  # nothing is left where it was started


def test_all_are_tried_short_and_say_what_they_do() -> None:
    scripts = sorted(EXAMPLES.glob("*.py"))
    assert [script.stem for script in scripts] == list(SAYS)
    for script in scripts:
        text = script.read_text(encoding="utf-8")
        assert text.startswith('"""')
        assert len(text.splitlines()) <= 40, script.name


def _printed(notebook: Any) -> list[str]:
    """The text that the cells gave."""
    outputs = [output for cell in notebook["cells"] if cell["cell_type"] == "code" for output in cell["outputs"]]
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]
    return ["".join(text) for text in texts]


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_keeps_small_results(file: Path) -> None:
    notebook = json.loads(file.read_text(encoding="utf-8"))
    assert file.stat().st_size < 40_000
    assert [output for output in _printed(notebook) if "Traceback" in output] == []
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))


@pytest.mark.slow
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_runs(file: Path, tmp_path: Path) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    stored, notebook = (nbformat.read(file, as_version=4) for _ in range(2))
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where).execute()
    assert _printed(notebook)[-1] == _printed(stored)[-1]
