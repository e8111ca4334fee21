"""Which set is meant: folders, parents, names, variants, $PARTREID_DATA; and several sets at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from partreid.datasets.readers import DATA_VARIABLE, find_datasets, locate_dataset, read_datasets
from partreid.errors import DataError, LabelError
from tests.datasets.test_layouts import MARKET, OCCLUDED_REID, P_DUKE, lay, lay_msmt17, read

pytestmark = pytest.mark.filterwarnings("ignore:.*Results will not compare")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of sets, two of them one folder deeper."""
    lay(tmp_path / "market1501" / "Market-1501-v15.09.15", *MARKET)
    lay(tmp_path / "occluded_reid" / "Occluded_REID", *OCCLUDED_REID)
    lay(tmp_path / "P-DukeMTMC-reID", *P_DUKE)
    lay(tmp_path / "mine", *MARKET)
    lay(tmp_path / "notes", "readme.txt")
    lay(tmp_path / ".hidden", *MARKET)
    return tmp_path


def test_all_sets_in_a_folder(data: Path) -> None:
    found = {one.layout.key: one.path.relative_to(data).as_posix() for one in find_datasets(data)}
    assert found == {
        "market1501": "market1501/Market-1501-v15.09.15",
        "occluded_reid": "occluded_reid/Occluded_REID",
        "p_dukemtmc": "P-DukeMTMC-reID",
        "folder": "mine",
    }
    assert find_datasets(data / "notes") == ()


def test_the_set_its_parent_or_a_folder_above(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (data / "market1501", data / "market1501" / "Market-1501-v15.09.15"):
        assert read(path).name == "Market-1501"
    monkeypatch.chdir(data / "mine")
    assert read(".").name == "mine"
    (data / "link").symlink_to(data / "mine")
    assert read(data / "link").name == "link"


def test_several_sets_need_a_name(data: Path) -> None:
    with pytest.raises(DataError, match=r"several data sets\. Choose one of them: .*market1501=.*-v15\.09\.15"):
        read(data)
    assert read(f"market1501={data}").name == "Market-1501"
    assert read(f"p_dukemtmc={data}").root == data / "P-DukeMTMC-reID"


def test_a_name_makes_a_folder_of_another_name_that_set(data: Path) -> None:
    with pytest.warns(UserWarning, match="Market-1501 train: expected 751"):
        assert read_datasets([f"market1501={data / 'mine'}"])[0].name == "Market-1501"
    with pytest.raises(DataError, match=r"market1501 has no DukeMTMC-reID \(dukemtmc\): expected bounding_box_train"):
        read(f"dukemtmc={data / 'market1501'}")


def test_bare_names_are_looked_for_in_the_variable(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    with pytest.raises(DataError, match=r"set the environment variable PARTREID_DATA .* give the folder: market1501="):
        read("market1501")
    monkeypatch.setenv(DATA_VARIABLE, str(data))
    assert read("market1501").name == "Market-1501"
    with pytest.raises(DataError, match=r"has no Partial-REID \(partial_reid\).*found P-DukeMTMC-reID, market"):
        read("partial_reid")


def test_an_existing_path_goes_before_a_name(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data / "mine").rename(data / "market1501=x")
    monkeypatch.chdir(data)
    assert read("market1501=x").name == "market1501=x"
    assert locate_dataset("market1501").path == Path("market1501/Market-1501-v15.09.15")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{data}/gone", "gone does not exist: no such folder or table, and no known name"),
        ("market1501={data}/gone", "gone does not exist"),
        ("markt1501={data}", "No data set is called 'markt1501'. Did you mean 'market1501'"),
        ("{data}/notes", "notes holds no data set of a known layout: .*found no folder"),
        ("{data}/notes/readme.txt", r"readme\.txt is a file, but no table"),
    ],
)
def test_what_is_not_found(data: Path, spec: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(spec.format(data=data))


def test_a_folder_that_may_not_be_read_holds_no_set(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data / "lost+found").mkdir()
    real = os.scandir

    def scandir(path: Path) -> Any:
        if Path(path).name == "lost+found":  # root may read everything, so the system does not refuse it here
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert read(f"market1501={data}").name == "Market-1501"
    assert len(find_datasets(data)) == 4


def test_both_versions_of_msmt17(tmp_path: Path) -> None:
    lay_msmt17(tmp_path / "MSMT17_V1", "train", "test")
    lay_msmt17(tmp_path / "MSMT17_V2", "mask_train_v2", "mask_test_v2")
    with pytest.raises(DataError, match="several data sets"):
        read(tmp_path)
    assert read(f"msmt17_v2={tmp_path}").name == "MSMT17-V2"


def test_sets_that_are_used_together_need_different_names(data: Path) -> None:
    other = lay(data / "deeper" / "mine", *MARKET)
    with pytest.raises(DataError, match=r"Two of the data sets are called 'mine': .* and .*deeper/mine"):
        read_datasets([data / "mine", other])
    (data / "another").symlink_to(other)
    assert [d.name for d in read_datasets([data / "mine", data / "another"])] == ["mine", "another"]


def test_sets_that_are_only_evaluated_need_no_labels(data: Path) -> None:
    lay(data / "mine", *(f"masks/a/{name}".replace(".jpg", ".npy") for name in MARKET[:2]))
    trained, tested = read_datasets([data / "mine", f"occluded_reid={data}"], labels="a")
    assert all(image.label for image in trained.train)
    assert tested.train == ()
    with pytest.raises(LabelError, match="No label folder 'b'"):
        read_datasets([data / "mine"], labels="b")
