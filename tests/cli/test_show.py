"""``partreid show``: rankings, attention and the report, of every kind of model, end to end on blocks."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partreid.datasets.readers import read_dataset
from partreid.errors import DataError
from partreid.functional.ranking import evaluate_ranking
from partreid.models.build import build_network
from partreid.models.checkpoint import Checkpoint, save_checkpoint
from partreid.reports.figures import QueryChoice, find_image
from partreid.types import ReIDDataset, ReIDImage
from tests.cli.conftest import Run
from tests.conftest import tiny_config, write_blocks
from tests.pages import read_page


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_rankings_simply_work_and_say_where_the_file_is(run: Run, tiny_run: Path, blocks: Path, here: Path) -> None:
    status, text = run("show", "rankings", tiny_run, blocks)
    assert status == 0, text
    assert "Written: rankings.png" in text
    assert pixels(here / "rankings.png").std() > 10
    assert [path.name for path in here.iterdir()] == ["rankings.png"]


def test_rankings_page_with_every_option(run: Run, tiny_run: Path, blocks: Path, here: Path) -> None:
    shutil.copytree(tiny_run, here / "other")
    status, text = run(
        "show", "rankings", tiny_run, blocks, "--image", "0013_c4_000003", "--image", "0", "--by", "torso",
        "--by", "all", "--against", "other", "--top", "4", "--junk", "--cells", "--no-attention", "-o", "found.html",
    )  # fmt: skip
    assert status == 0, text
    page = read_page((here / "found.html").read_text())
    assert page.text.count("Query ·") == 2 * 2 * 2
    assert page.text.index("#2") < page.text.index("#0")
    assert "Query · other · by torso" in page.text
    assert "0013_c4_000003.jpg" in page.text
    assert f"{tiny_run.name}: rank-1" in page.text
    shown = {line.split("\n")[0] for line in page.words}
    assert {"1 ✓", "1 ✗"} & {word[:3] for word in shown}


def test_cameras_are_called_as_the_set_calls_them(run: Run, tiny_run: Path, blocks: Path, here: Path) -> None:
    """They were counted from 0 in figures, from 1 in file names."""
    assert run("show", "rankings", tiny_run, blocks, "--image", "0013_c4_000003", "--html")[0] == 0
    alts = [picture["alt"] for picture in read_page((here / "rankings.html").read_text()).all("img")]
    names = re.findall(r"\b(\d{4})_c(\d)_", (here / "rankings.html").read_text())
    assert "id 13 · cam 4" in alts[0]
    assert [(int(pid), camera) for pid, camera in names] == [
        (int(pid), camera) for pid, camera in re.findall(r"id (\d+) · cam (\d)", " ".join(alts))
    ]

    def name(dataset: ReIDDataset) -> set[str]:
        return {image.camera_name for split in dataset.splits.values() for image in split}

    # A table keeps its numbers, a set of occluded and whole images has no cameras but these.
    rows = ("path,pid,camid,split", "a.jpg,1,0,query", "b.jpg,1,7,gallery", "c.jpg,2,0,train")
    (here / "own.csv").write_text("\n".join(rows))
    for file in ("a.jpg", "b.jpg", "c.jpg"):
        shutil.copy(next((blocks / "query").iterdir()), here / file)
    assert name(read_dataset(here / "own.csv")) == {"0", "7"}
    for folder in ("occluded_body_images", "whole_body_images"):
        (here / "bodies" / folder / "001").mkdir(parents=True)
        shutil.copy(here / "a.jpg", here / "bodies" / folder / "001" / "001_01.jpg")
    assert name(read_dataset(here / "bodies")) == {"occluded", "whole"}
    (here / "own.csv").write_text("\n".join(("path,pid,split", "a.jpg,1,query", "b.jpg,1,gallery", "c.jpg,2,train")))
    assert name(read_dataset(here / "own.csv")) == {""}


def test_the_order_and_the_verdicts_are_those_of_the_scores(run: Run, tiny_run: Path, blocks: Path, here: Path) -> None:
    every = [option for index in range(4) for option in ("--image", index)]
    assert run("show", "rankings", tiny_run, blocks, *every, "--top", "12", "--html")[0] == 0
    page = read_page((here / "rankings.html").read_text())
    alts = [image["alt"] for image in page.all("img")]
    firsts = [alt for alt in alts if alt.startswith("Rank 1,")]
    assert len(firsts) == 4
    assert f"rank-1 {100 * sum('right person' in alt for alt in firsts) / 4:.1f} %" in page.text
    distances = [float(alt.split("distance ")[1].split(",")[0]) for alt in alts[1:13]]
    assert distances == sorted(distances)
    assert not any("camera" in alt for alt in alts), "junk is left out"


def test_the_same_seed_draws_the_same_queries(run: Run, tiny_run: Path, blocks: Path, here: Path) -> None:
    for name in ("a", "b"):
        assert run("show", "rankings", tiny_run, blocks, "--random", "2", "--seed", "5", "-o", f"{name}.html")[0] == 0
    assert (here / "a.html").read_bytes() == (here / "b.html").read_bytes()
    assert read_page((here / "a.html").read_text()).text.count("full bar") == 2


def test_attention_reads_the_labels_of_what_it_draws(run: Run, tiny_run: Path, blocks: Path, here: Path) -> None:
    bare = here / "bare"
    shutil.copytree(blocks, bare)
    shutil.rmtree(bare / "masks")
    status, text = run("show", "attention", tiny_run, blocks, "--worst", "2")
    assert status == 0, text
    assert run("show", "attention", tiny_run, bare, "--worst", "2", "-o", "bare.png")[0] == 0
    with_labels, without = pixels(here / "attention.png"), pixels(here / "bare.png")
    assert with_labels.shape[1] == without.shape[1]
    assert with_labels.shape[0] > 1.7 * without.shape[0]
    status, _ = run("show", "attention", tiny_run, blocks, "--image", "1", "--query", "holistic", "--html", "--cells")
    page = read_page((here / "attention.html").read_text())
    assert status == 0
    assert "0012_c5_000004.jpg" in page.text
    assert "drawn as blocks" in page.text
    assert "label map Y" in page.text


def test_several_label_folders_are_no_reason_to_stop(run: Run, tiny_run: Path, blocks: Path, here: Path) -> None:
    root = here / "two"
    shutil.copytree(blocks, root)
    shutil.copytree(root / "masks" / "blocks", root / "masks" / "more")
    status, text = run("show", "attention", tiny_run, root, "-o", "none.html")
    assert status == 0, text
    assert "Drawn without labels" in text
    assert "label map Y" not in (here / "none.html").read_text()
    assert run("show", "attention", tiny_run, root, "-o", "more.html", "--labels", "more")[0] == 0
    assert "label map Y" in (here / "more.html").read_text()


def test_a_label_that_does_not_fit_is_no_reason_to_stop(run: Run, tiny_run: Path, blocks: Path, here: Path) -> None:
    root = here / "set"
    shutil.copytree(blocks, root)
    np.save(root / "masks" / "blocks" / "query" / "0011_c4_000003.npy", np.full((9, 5), 8, np.uint8))  # of K = 8
    status, text = run("show", "attention", tiny_run, root, "--image", "0", "--image", "1", "--html")
    assert status == 0, text
    assert "Drawn without its label" in text
    assert read_page((here / "attention.html").read_text()).words.count("label map Y") == 1


def test_report_of_a_run(run: Run, tiny_run: Path, blocks: Path, here: Path) -> None:
    status, text = run("show", "report", tiny_run, blocks, "-o", "new/page.html")
    assert status == 0, text
    assert "Written: new/page.html" in text
    page = read_page((here / "new" / "page.html").read_text())
    assert f"{tiny_run.name} on {blocks.name}" in page.text
    for words in ("Queries: query", "Queries: holistic", "Means over each epoch's steps; 2 epochs.", "label map Y",
                  "optimizer", "images_per_identity", "matching", "PyTorch", "partreid show report", "processor",
                  "12 pairs of one person, 36 pairs of different persons"):  # fmt: skip
        assert words in page.text, words
    alts = [image["alt"] for image in page.all("img")]
    assert any(alt.startswith("objective L (Eq. 5), epochs 1 to 2") for alt in alts)
    assert (here / "new" / "page.html").stat().st_size < 5_000_000


def test_evaluate_writes_the_report_and_the_intervals(run: Run, tiny_run: Path, blocks: Path, here: Path) -> None:
    status, text = run("evaluate", tiny_run, "--data", blocks, "-o", "out", "--query", "query")
    assert status == 0, text
    results = json.loads((here / "out" / "results.json").read_text())
    for one in results.values():
        for metric in ("rank1", "mAP"):
            low, high = one["confidence_95"][metric]
            assert 0 <= low <= one[metric] <= high <= 1
    assert "95 % bootstrap interval" in read_page((here / "out" / "report.html").read_text()).text
    status, text = run("evaluate", tiny_run)
    assert status == 2
    assert "give its folder or name, or --data NAME" in text


@pytest.mark.parametrize("attention", ["none", "stripes", "fixed"])
def test_every_kind_of_model(run: Run, blocks: Path, here: Path, attention: str) -> None:
    config = tiny_config(f"model.attention={attention}", "model.stripes=3", "model.visibility_threshold=0.2")
    save_checkpoint(Checkpoint(build_network(config.model, 6).eval(), config.preprocess), here / "model")
    for name in ("rankings.png", "attention.html"):
        status, text = run("show", name.partition(".")[0], "model", blocks, "-o", name, "--best", "1")
        assert status == 0, text
    assert pixels(here / "rankings.png").std() > 5
    words = read_page((here / "attention.html").read_text()).text
    assert ("no attention maps" in words) == (attention == "none")
    assert ("stripe 3" in words) == (attention == "stripes")
    assert ("foreground" in words) == (attention == "fixed")
    status, text = run("evaluate", "model", blocks, "-o", "out", "--query", "holistic")
    assert status == 0, text
    page = read_page((here / "out" / "report.html").read_text())
    assert "holds no history of its training" in page.text
    assert "How it was trained is not known" in page.text
    assert (here / "out" / "attention_holistic.png").exists() == (attention != "none")


def test_a_query_without_a_match_and_a_name_that_would_be_markup(run: Run, tiny_run: Path, here: Path) -> None:
    root = here / "set"
    write_blocks(root, "bounding_box_test", range(11, 13), range(3))
    write_blocks(root, "bounding_box_train", range(1, 3), range(2))
    write_blocks(root, "query", range(11, 12), range(3, 4))
    write_blocks(root, "query", range(21, 22), range(3, 4))
    evil = root / "query" / "0021_c4_<b onclick=x>&.jpg"
    (root / "query" / "0021_c4_000003.jpg").rename(evil)
    status, text = run("show", "rankings", tiny_run, root, "--image", evil.name, "--image", "0", "--html")
    assert status == 0, text
    page = read_page((here / "rankings.html").read_text())
    assert "no match in the gallery" in page.text
    assert evil.name in page.text
    assert run("show", "report", tiny_run, root)[0] == 0
    assert "1 queries in 6 gallery images" in read_page((here / "report.html").read_text()).text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("rankings", "--image", "4711"),
            "No image '4711': expected the name of one of 4 files, or a number from 0 to",
        ),
        (("attention", "--image", "0011_c4_000004.jpg"), "Did you mean '0011_c4_000003.jpg'"),
        (("rankings", "--query", "holistc"), "Did you mean 'holistic'"),
        (("rankings", "--by", "torsso"), "by torsso: the model has no slot 'torsso'. Did you mean 'torso'"),
        (("rankings", "-o", "found.jpg"), "Expected a file that ends in .png or .html, got found.jpg"),
        (("attention", "--html", "-o", "found.png"), "Expected a file that ends in .html, got found.png"),
        (("attention", "--labels", "blocs"), "No label folder 'blocs'"),
    ],
)
def test_mistakes(run: Run, tiny_run: Path, blocks: Path, here: Path, arguments: tuple[str, ...], message: str) -> None:
    status, text = run("show", arguments[0], tiny_run, blocks, *arguments[1:])
    assert status == 2, text
    assert message in " ".join(text.split())
    assert list(here.iterdir()) == []


IMAGES = [ReIDImage(Path(f"/set/{folder}/{name}.jpg"), 1) for folder in ("a", "b") for name in ("1", "10", "x")]


@pytest.mark.parametrize(("name", "found"), [("a/1.jpg", 0), ("b/x.jpg", 5), ("/set/b/10.jpg", 4), ("3", 3), ("0", 0)])
def test_images_are_found_by_name_then_by_number(name: str, found: int) -> None:
    assert find_image(IMAGES, name) == found


@pytest.mark.parametrize(("name", "message"), [("x", "2 images are called 'x'"), ("6", "0 to 5"), ("003", "No image")])
def test_images_that_are_not_found(name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_image(IMAGES, name)


def test_choices() -> None:
    distances = np.array([[0.1, 0.9], [0.9, 0.1], [0.1, 0.9]])
    result = evaluate_ranking(distances, [1, 1, 3], [1, 2])  # the second is worse, the third has no match
    images = IMAGES[:3]
    assert QueryChoice(best=1).pick(images, result) == [0]
    assert QueryChoice(worst=1).pick(images, result) == [1]
    assert QueryChoice(names=["2"], best=9, worst=9).pick(images, result) == [2, 0, 1]
    assert QueryChoice(count=2).pick(images) == [0, 2]
    assert QueryChoice().pick(images, result) == [0, 1]
    assert sorted(QueryChoice(random=9).pick(images)) == [0, 1, 2]
