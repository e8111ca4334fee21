"""``evaluate`` as a library call: one line gives scores, and the files say the same in one spelling."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from partreid.datasets.readers import read_dataset
from partreid.errors import ConfigError, DataError
from partreid.evaluation.calibration import calibrate
from partreid.inference.extractor import PartExtractor
from partreid.models.bpbreid import BPBReID
from partreid.models.checkpoint import Checkpoint, save_checkpoint
from partreid.models.model_config import ModelConfig
from partreid.preprocessing import PreprocessConfig
from partreid.progress import Advance
from partreid.reports.drawings import draw_attention_of, draw_rankings_of
from partreid.reports.evaluate import METRICS, evaluate
from partreid.reports.figures import QueryChoice
from tests.app.people import ColorRunner


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with random weights. Read only."""
    torch.manual_seed(3)
    network = BPBReID(ModelConfig(backbone="resnet18", output_stride=16, parts="two_v", visibility="argmax"), 2)
    torch.nn.init.normal_(network.part_classifier.classifier.weight, std=0.1)
    run = tmp_path_factory.mktemp("model") / "run"
    save_checkpoint(Checkpoint(network, PreprocessConfig(height=64, width=32)), run / "checkpoint")
    return run


def test_one_line_gives_the_scores(model: Path, blocks: Path) -> None:
    found = evaluate(str(model), str(blocks))
    assert list(found) == ["query", "holistic"]
    assert found.rank1 == found["query"].rank(1)
    assert found.mAP == found["query"].mean_ap
    assert found.mINP == found["query"].mean_inp
    same = evaluate(PartExtractor.from_pretrained(model), read_dataset(blocks), query="holistic")
    assert list(same) == ["holistic"]
    assert same.mAP == pytest.approx(found["holistic"].mean_ap)
    assert len(repr(found).splitlines()) == 2
    assert f"run on {blocks.name}; query: rank-1" in repr(found)
    assert found._repr_html_().count("<tr>") == 1 + len(found.rows())
    with pytest.raises(DataError, match="no query set 'holistc'. Did you mean 'holistic'"):
        found["holistc"]
    assert found.get("holistc") is None


def test_every_file_has_one_spelling_of_the_scores(model: Path, blocks: Path, tmp_path: Path) -> None:
    found = evaluate(model, blocks, rerank=True, device="cpu", out=tmp_path / "out")
    results = json.loads((tmp_path / "out/results.json").read_text())
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out/results.csv").read_text())))
    assert [row["query_set"] for row in rows if row["embedding"] == "all"] == ["query", "holistic"]
    for row in rows:
        scores = results[row["query_set"]]
        if row["embedding"] == "all, re-ranked":
            scores = scores["reranked"]
        elif row["embedding"] != "all":
            (scores,) = (one for one in scores["embeddings"] if one["name"] == row["embedding"])
        assert {metric: float(row[metric]) for metric in METRICS} == {metric: scores[metric] for metric in METRICS}
    latex = (tmp_path / "out/results.tex").read_text()
    assert latex.count(r"\\") == 1 + len(rows)
    assert f"query & all & {100 * found.rank1:.1f} &" in latex
    assert {"report.html", "rankings_query.png", "attention_holistic.png"} <= {
        file.name for file in (tmp_path / "out").iterdir()
    }
    with pytest.raises(DataError, match="Cannot write"):
        found.save(tmp_path / "out" / "results.json")


def test_several_sets_are_evaluated_each_by_itself(model: Path, blocks: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.symlink_to(blocks)
    jobs: dict[str, list[int]] = {}

    @contextmanager
    def progress(job: str, total: int, /) -> Iterator[Advance]:
        jobs[job] = [total]
        yield jobs[job].append

    found = evaluate(model, [blocks, other], query=["query"], progress=progress)
    assert list(found) == [blocks.name, "other"]
    assert found["other"].mAP == found[blocks.name].mAP
    assert list(jobs) == [f"embedding {blocks.name}", "embedding other"]
    for total, *done in jobs.values():
        assert sum(done) == total == 16
    with pytest.raises(DataError, match="Figures need the embeddings.*out=FOLDER"):
        found["other"].save(tmp_path / "out")


def test_an_extractor_embeds_as_it_was_made_to(model: Path, blocks: Path, tmp_path: Path) -> None:
    extractor = PartExtractor.from_pretrained(model, overrides=["visibility=continuous"])
    found = evaluate(extractor, blocks, query="query", overrides=["matching.visibility=geometric"])
    expected = evaluate(
        model, blocks, query="query", overrides=["model.visibility=continuous", "matching.visibility=geometric"]
    )
    assert found.how == expected.how
    assert found.mAP == expected.mAP
    assert "How it was trained is not known" in found.report().page()
    for options in ({"mirror": True}, {"device": "cpu"}, {"overrides": ["model.visibility=argmax"]}):
        with pytest.raises(ConfigError, match="The extractor is loaded already"):
            evaluate(extractor, blocks, **options)  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="Expected a calibration or its file"):
        evaluate(extractor, blocks, calibration="auto")


def test_an_exported_network_gives_scores_without_figures(blocks: Path, tmp_path: Path) -> None:
    extractor = PartExtractor.from_runner(ColorRunner())
    with pytest.warns(UserWarning, match="need the network itself"):
        found = evaluate(extractor, blocks, query="query", out=tmp_path / "out")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["results.csv", "results.json", "results.tex"]
    with pytest.raises(ConfigError, match="needs the network itself"):
        found.report()


def test_a_calibration_is_fitted_and_used(model: Path, blocks: Path, tmp_path: Path) -> None:
    fitted = calibrate(model, blocks, folds=2, overrides=["model.visibility=continuous"])
    assert set(fitted.quality) == {"distance and number of slots", "distance alone", "base rate"}
    assert not fitted.parts
    file = fitted.calibration.save(tmp_path / "calibration.json")
    for given in (file, str(file), fitted.calibration):
        found = evaluate(model, blocks, query="query", calibration=given)
        assert found.how.calibration == fitted.calibration.fitted_on
        assert found.how.visibility == "continuous"
    with pytest.raises(ConfigError, match="A calibration decides how to embed"):
        evaluate(model, blocks, calibration=file, mirror=True)


def test_figures_are_one_call(model: Path, blocks: Path, tmp_path: Path) -> None:
    rankings = draw_rankings_of(model, blocks, against=[model], by=["all"], queries=QueryChoice(["0"]), top=2)
    assert [name for name, _ in rankings.compared] == ["run", "run"]
    assert rankings.page().count("by all") >= 2, "a model is compared with another of the same name"
    assert rankings.save(tmp_path / "a.png").stat().st_size > 1000
    attention = draw_attention_of(model, blocks, query_set="holistic", queries=QueryChoice(best=1))
    assert attention.save(tmp_path / "a.html").read_text().startswith("<!")
    with pytest.raises(ConfigError, match=r"ends in .png or .html, got .*a.jpg"):
        attention.save(tmp_path / "a.jpg")
