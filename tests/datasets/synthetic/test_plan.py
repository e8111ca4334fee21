"""The plan and the wardrobe: pure, no renderer needed."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from partreid.datasets.synthetic.outfits import make_people, make_wardrobe
from partreid.datasets.synthetic.render_config import GALLERY, HOLISTIC, QUERY, TRAIN, SyntheticConfig, plan_images
from partreid.datasets.synthetic.shipped import SHIPPED
from partreid.datasets.synthetic.wardrobe import SKINS, Cut, Person, Stock
from partreid.errors import ConfigError


def test_names() -> None:
    stems = [p.stem for p in plan_images(SHIPPED.model_copy(update={"cameras": 99}))]
    assert len(set(stems)) == len(stems)
    assert all(re.fullmatch(r"\d{4}_c\d+_\d{6}", s) for s in stems)
    assert not any(re.match(r"\d{4}_c\d+s\d_", s) for s in stems)  # would pass for real Market-1501 files


def test_splits() -> None:
    plan = plan_images(SHIPPED)
    counts = Counter(p.folder for p in plan)
    assert counts == {TRAIN: 64 * 12, GALLERY: 64 * 6, QUERY: 64 * 3, HOLISTIC: 64}
    pids = {folder: {p.pid for p in plan if p.folder == folder} for folder in counts}
    assert not pids[TRAIN] & pids[GALLERY]
    assert pids[QUERY] == pids[HOLISTIC] == pids[GALLERY]
    occluded = {f: np.mean([p.occlusion is not None for p in plan if p.folder == f]) for f in counts}
    assert 0.3 <= occluded[TRAIN] <= 0.4
    assert occluded[GALLERY] <= 0.16
    assert (occluded[QUERY], occluded[HOLISTIC]) == (1, 0)


def test_every_query_has_a_match_under_another_camera() -> None:
    plan = plan_images(SyntheticConfig(train_identities=2, test_identities=40, gallery_images=2, cameras=2))
    for query in (p for p in plan if p.folder in (QUERY, HOLISTIC)):
        assert any(p.folder == GALLERY and p.pid == query.pid and p.camid != query.camid for p in plan)


def test_a_image_does_not_depend_on_the_number_of_others() -> None:
    few, many = (plan_images(SyntheticConfig(train_identities=n)) for n in (5, 9))
    assert [p.seed(0) for p in few[:60]] == [p.seed(0) for p in many[:60]]


def test_identities_share_garments_but_no_outfit() -> None:
    rng = np.random.default_rng(0)
    people = make_people(rng, make_wardrobe(rng, 120), 120)
    assert len({p.outfit for p in people}) == 120
    for part in ("top", "bottom", "shoes", "hair"):
        worn = Counter(getattr(p.outfit, part) for p in people)
        shared = sum(n for n in worn.values() if n > 1)
        assert shared > 0.8 * len(people), part


def test_outfits_of_a_stock() -> None:
    stock = Stock(
        top=(Cut("a:top", "male"), Cut("b:top", "female")), bottom=(Cut("a:bottom", "male"), Cut("c:bottom")),
        whole=(Cut("d:whole", "female"),), shoes=(Cut("e:shoes"),), hair=(Cut("f:hair", "female"),),
    )  # fmt: skip

    def draw(seed: int) -> list[Person]:
        rng = np.random.default_rng(seed)
        return make_people(rng, make_wardrobe(rng, 150, stock), 150)

    people = draw(0)
    assert people == draw(0)
    assert people != draw(1)
    worn = Counter(cut.piece for p in people for cut in p.outfit.cuts)
    assert set(worn) == {"a:top", "b:top", "a:bottom", "c:bottom", "d:whole", "e:shoes", "f:hair"}
    for person in people:
        wearers = {cut.wearer for cut in person.outfit.cuts} - {""}
        assert len(wearers) <= 1
        if wearers:
            assert (dict(person.shape)["gender"] > 0.5) == (wearers == {"female"})
        assert not (person.outfit.top.whole and any(cut.piece.endswith(":bottom") for cut in person.outfit.cuts))


def test_skirts_are_worn_with_and_without_an_asset_folder() -> None:
    stock = Stock(top=(Cut("a:top", "male"), Cut("b:top", "female")), bottom=(Cut("a:bottom", "male"), Cut("c:bottom")))
    for folder in (None, stock):
        rng = np.random.default_rng(2)
        people = make_people(rng, make_wardrobe(rng, 600, folder), 600)
        skirts = [p for p in people if p.outfit.bottom.skirt and p.outfit.skirt]
        assert 0.04 < len(skirts) / len(people) < 0.2
        lengths = [p.outfit.skirt for p in skirts]
        assert min(lengths) < 0.4 < 0.65 < max(lengths)
        assert all({cut.wearer for cut in p.outfit.cuts} <= {"female", ""} for p in skirts)
        assert np.mean([dict(p.shape)["gender"] > 0.5 for p in skirts]) > 0.95
        assert any(p.outfit.tights for p in skirts)


def test_colours_are_those_of_the_street() -> None:
    rng = np.random.default_rng(0)
    people = make_people(rng, make_wardrobe(rng, 2000), 2000)
    dark = np.mean([max(p.outfit.bottom.cloth.colour) < 0.4 for p in people])
    assert dark > 0.5
    assert Counter(p.skin for p in people).keys() == set(SKINS)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("query_occlusion", [0.8, 0.4], "least < greatest"),
        ("camera", 3, "cameras"),
        ("cameras", 1, "cameras"),
        ("cameras", 100, "cameras"),
    ],
)
def test_messages(field: str, value: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SyntheticConfig.parse({field: value})
