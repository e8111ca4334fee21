"""Where labels lie."""

from pathlib import Path

import pytest

from partreid.errors import LabelError
from partreid.labels.locate import choose_label_folder, find_label, label_folders, label_path


@pytest.mark.parametrize("name", ["0001_c1.npy", "0001_c1.jpg.npy", "0001_c1.jpg.confidence_fields.npy", "0001_c1.png"])
def test_every_published_place_is_found(tmp_path: Path, name: str) -> None:
    image = tmp_path / "query" / "0001_c1.jpg"
    assert find_label(image, tmp_path, "openvino") is None
    label = tmp_path / "masks" / "openvino" / "query" / name
    label.parent.mkdir(parents=True)
    label.touch()
    assert find_label(image, tmp_path, "openvino") == label


def test_labels_are_written_to_the_first_place(tmp_path: Path) -> None:
    image = tmp_path / "train" / "7" / "a.b.jpg"
    assert label_path(image, tmp_path, "mine") == tmp_path / "masks" / "mine" / "train" / "7" / "a.b.npy"


def test_a_image_elsewhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="does not lie within"):
        find_label(tmp_path / "a.jpg", tmp_path / "other", "mine")


def test_auto_takes_the_only_folder_and_asks_where_there_are_several(tmp_path: Path) -> None:
    assert label_folders(tmp_path) == ()
    assert choose_label_folder(tmp_path) is None
    with pytest.raises(LabelError, match="make some with"):
        choose_label_folder(tmp_path, "openvino")
    (tmp_path / "masks" / "rendered").mkdir(parents=True)
    assert choose_label_folder(tmp_path) == "rendered"
    (tmp_path / "masks" / "openvino").mkdir()
    with pytest.raises(LabelError, match=r"openvino, rendered.*--set labels=openvino, elsewhere --labels openvino"):
        choose_label_folder(tmp_path)
    with pytest.raises(LabelError, match="Did you mean 'rendered'"):
        choose_label_folder(tmp_path, "renderd")
    assert choose_label_folder(tmp_path, "openvino") == "openvino"
    assert choose_label_folder(tmp_path, None) is None
    assert choose_label_folder(tmp_path, "pifpaf, rendered,openvino") == "rendered"
    with pytest.raises(LabelError, match=r"No label folder 'a' or 'b'"):
        choose_label_folder(tmp_path, "a,b")
