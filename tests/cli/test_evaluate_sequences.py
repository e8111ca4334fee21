"""``partreid evaluate --reassociation``."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Run
from tests.evaluation.test_mot_sequences import film


def test_beside_retrieval_or_alone(run: Run, tiny_run: Path, blocks: Path, tmp_path: Path) -> None:
    walk, out = film(tmp_path), tmp_path / "out"
    status, text = run(
        "evaluate", tiny_run, "--reassociation", walk, "--gaps", "1,2s", "--levels", "0.6", "--visibility-of", "lower",
        "--every", "2", "-o", out, "--bootstrap", "20", "--device", "cpu",
    )  # fmt: skip
    assert status == 0, text
    assert "Found again, by the visibility of lower" in text
    assert "[0, 0.6)" in text
    assert "all - foreground" in text
    assert "rank-5" not in text
    assert {file.name for file in out.iterdir()} == {"reassociation.json", "reassociation.csv"}
    status, text = run("evaluate", tiny_run, blocks, "--reassociation", walk, "--gaps", "1", "--device", "cpu")
    assert status == 0, text
    assert text.index("Retrieval on") < text.index("Found again")
    for arguments, message in (
        ((blocks, "--gaps", "1"), "Add --reassociation FOLDER"),
        (("--reassociation", walk, "--rerank"), "are for data sets"),
        (("--reassociation", walk), "gap 30 is longer"),
        (("--reassociation", walk, "--levels", "0.8,0.2"), "ascending"),
        ((), "Expected a data set"),
    ):
        status, text = run("evaluate", tiny_run, *arguments, "--device", "cpu")
        assert (status, message in text) == (2, True), text
