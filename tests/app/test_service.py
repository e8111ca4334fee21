"""The page's service without HTTP: what it finds, says, keeps and refuses."""

from __future__ import annotations

import base64
import io
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from partreid.app.messages import ItemQuestion, Question, Sighting
from partreid.app.service import (
    EMPTY,
    NOTHING_CHOSEN_VISIBLE,
    NOTHING_LEFT,
    NOTHING_SHARED,
    NOTHING_VISIBLE,
    PageService,
)
from partreid.app.uploads import Limits, TooLargeError, UnknownImageError
from partreid.datasets.images import read_image
from partreid.errors import ConfigError, DataError, ShapeError
from partreid.inference.extractor import PartExtractor
from partreid.retrieval.filters import Filter
from partreid.retrieval.gallery import Gallery
from partreid.retrieval.matching import MatchingConfig
from partreid.tracking.tracklets import merge_tracklet
from partreid.types import GalleryRecords
from tests.app.people import BLACK, COLORS, DAY, EVIL, HEIGHT, WIDTH, ColorRunner, calibration, person, png

RED, GREEN = COLORS["anna"], COLORS["ben"]


def sent(service: PageService, image: np.ndarray) -> str:
    return service.keep(png(image)).image


def ask(service: PageService, *images: np.ndarray, **options: Any) -> Question:
    return Question(query=tuple(Sighting(image=sent(service, image)) for image in images), **options)


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "JPEG"
        return np.asarray(image)


def test_search_is_the_gallerys(service: PageService, gallery: Gallery, extractor: PartExtractor) -> None:
    image = person(RED, GREEN, seed=99)
    ranking = service.search(ask(service, image, k=4))
    expected = gallery.search(extractor.embed([image]), 4)
    assert [found.id for found in ranking.results] == list(expected.ids[0])
    assert {found.id for found in ranking.results[:2]} == {"anna_c1", "anna_c2"}
    assert [found.distance for found in ranking.results] == expected.distances[0].tolist()
    first = ranking.results[0]
    assert (first.id, first.camera, first.time, first.track) == ("anna_c2", "2", "2026-01-01T02:00:00+00:00", "2")
    assert list(first.parts.values()) == expected.part_distances[0, 0].tolist()
    assert first.compared == 3
    assert first.probability is None
    assert ranking.searched == 6
    assert ranking.notes == ()


def test_a_box_is_what_is_looked_at(service: PageService) -> None:
    frame = np.full((200, 300, 3), 128, np.uint8)
    frame[50 : 50 + HEIGHT, 100 : 100 + WIDTH] = person(RED, GREEN)
    name = sent(service, frame)
    boxed = Sighting(image=name, box=(100, 50, 100 + WIDTH, 50 + HEIGHT))
    assert service.search(Question(query=(boxed,), k=1)).results[0].distance < 0.2  # type: ignore[operator]
    assert service.search(Question(query=(Sighting(image=name),), k=1)).results[0].distance > 1  # type: ignore[operator]
    for box in ((0, 0, 2, 50), (400, 0, 500, 50), (50, 50, 40, 40)):
        with pytest.raises(DataError, match="Draw it around the person"):
            service.search(Question(query=(Sighting(image=name, box=box),)))


def test_several_images_are_merged(service: PageService, gallery: Gallery, extractor: PartExtractor) -> None:
    above, below = person(RED, BLACK), person(BLACK, GREEN)
    merged = merge_tracklet(extractor.embed([above, below]))
    expected = gallery.search(merged, 6).distances[0].tolist()
    assert [found.distance for found in service.search(ask(service, above, below)).results] == expected
    assert service.look(ask(service, above, below).query).visibility == {"foreground": 1, "torso": 1, "legs": 1}
    compared = service.compare(ItemQuestion(query=ask(service, above, below).query, item="anna_c1"))
    assert len(compared.queries) == 2
    # Each part is shown in the image that shows it best.
    torso = {part.slot: part.query.attention for part in compared.parts}["torso"]
    alone = service.compare(ItemQuestion(query=ask(service, above).query, item="anna_c1"))
    assert torso == {part.slot: part.query.attention for part in alone.parts}["torso"]


def test_an_item_is_a_query(service: PageService) -> None:
    question = Question(query=(Sighting(item="anna_c1"),), where=Filter(not_cameras=("1",), not_ids=("anna_c1",)), k=1)
    assert service.search(question).results[0].id == "anna_c2"
    with pytest.raises(DataError, match="Not in the gallery"):
        service.search(Question(query=(Sighting(item="nobody"),)))


def test_choosing_parts(service: PageService, extractor: PartExtractor) -> None:
    image = person(RED, RED)  # anna's torso, carla's legs
    torso = service.search(ask(service, image, parts=("torso",), k=2))
    assert {found.id[:4] for found in torso.results} == {"anna"}
    legs = service.search(ask(service, image, parts=("legs",), k=2))
    assert {found.id[:5] for found in legs.results} == {"carla"}
    assert list(legs.results[0].parts) == ["legs"]
    assert legs.results[0].compared == 1
    with pytest.raises(DataError, match="no part 'tail'"):
        service.search(ask(service, image, parts=("tail",)))
    with pytest.raises(DataError, match="at least one part"):
        service.search(ask(service, image, parts=()))


def test_reranking_runs_the_model_no_second_time(service: PageService, extractor: PartExtractor) -> None:
    question = ask(service, person(RED, GREEN))
    runner = extractor.runner
    assert isinstance(runner, ColorRunner)
    before = runner.runs
    service.look(question.query)
    service.search(question)
    service.search(question.model_copy(update={"parts": ("torso",), "normalize": True}))
    assert runner.runs == before + 1


def test_normalize_is_a_choice(service: PageService, gallery: Gallery, extractor: PartExtractor) -> None:
    image = person((110, 20, 20), (20, 110, 20))
    found = service.search(ask(service, image, normalize=True, k=6)).results
    matching = service.matching.model_copy(update={"normalize": True})
    expected = gallery.search(extractor.embed([image]), 6, matching=matching)
    assert [one.distance for one in found] == expected.distances[0].tolist()
    assert found[0].distance != service.search(ask(service, image)).results[0].distance


def test_probabilities_only_for_the_calibrations_own_way(gallery: Gallery, extractor: PartExtractor) -> None:
    service = PageService(gallery, extractor, calibration=calibration())
    image = person(RED, GREEN)
    found = service.search(ask(service, image)).results
    result = gallery.search(extractor.embed([image]), 6)
    assert [one.probability for one in found] == calibration().of_search(result)[0].tolist()
    every = service.search(ask(service, image, parts=("legs", "foreground", "torso")))
    assert every.results[0].probability is not None
    for change in ({"parts": ("torso",)}, {"normalize": True}):
        assert service.search(ask(service, image, **change)).results[0].probability is None
    with pytest.raises(DataError, match="another model"):
        PageService(gallery, extractor, calibration=calibration().model_copy(update={"model": "other"}))


def test_filters(service: PageService) -> None:
    def ids(**where: Any) -> set[str]:
        return {found.id for found in service.search(ask(service, person(RED, GREEN), where=where)).results}

    assert ids(cameras=["2"]) == {"anna_c2", "ben_c2", "carla_c2"}
    assert ids(since=DAY + 3 * 3600, until=DAY + 5 * 3600) == {"ben_c1", "ben_c2"}
    assert ids(not_metadata={"track": ["1", "22"]}) == {"anna_c2", "ben_c1", "ben_c2", "carla_c1"}


def test_items_left_out_for_want_of_a_time_are_said(service: PageService, gallery: Gallery) -> None:
    """As the command says it: who looks for a time must know of what could not be looked at."""
    known = gallery.get(["anna_c2"])
    undated = replace(known.items[0], id="undated", time=None)
    gallery.add_records(GalleryRecords((undated,), known.embeddings))
    note = "Not searched, because their time is unknown: 1 more items."
    found = service.search(ask(service, person(RED, GREEN), where={"since": DAY}))
    assert (found.searched, found.notes) == (len(gallery) - 1, (note,))
    nowhere = service.search(ask(service, person(RED, GREEN), where={"until": DAY - 3600}))
    assert (nowhere.searched, nowhere.notes) == (0, (NOTHING_LEFT, note))
    assert service.search(ask(service, person(RED, GREEN), where={"since": DAY, "undated": True})).notes == ()
    assert service.search(ask(service, person(RED, GREEN), where={"cameras": [2]})).notes == ()


def test_what_cannot_be_compared_is_said(service: PageService, gallery: Gallery, extractor: PartExtractor) -> None:
    assert service.search(ask(service, person(BLACK, BLACK))).notes == (NOTHING_VISIBLE,)
    chosen = service.search(ask(service, person(RED, BLACK), parts=("legs",)))
    assert (chosen.results, chosen.notes) == ((), (NOTHING_CHOSEN_VISIBLE,))
    nowhere = service.search(ask(service, person(RED, GREEN), where=Filter(cameras="9")))
    assert (nowhere.results, nowhere.searched, nowhere.notes) == ((), 0, (NOTHING_LEFT,))

    gallery.add(extractor.embed([person(BLACK, GREEN)]), ["hidden"], cameras=9)
    shared = service.search(ask(service, person(RED, BLACK), where=Filter(cameras="9"), parts=("torso", "legs")))
    assert (shared.results, shared.notes) == ((), (NOTHING_SHARED,))
    some = service.search(ask(service, person(RED, BLACK), parts=("torso", "legs")))
    assert len(some.results) == 6
    assert "No visible part in common with the query: 1 of 7" in some.notes[0]

    gallery.delete(where=Filter())
    assert service.search(ask(service, person(RED, GREEN))).notes == (EMPTY,)
    fresh = PageService(Gallery(), extractor)
    assert fresh.search(ask(fresh, person(RED, GREEN))).notes == (EMPTY,)
    assert (fresh.about().items, fresh.about().cameras) == (0, ())


def test_comparing(service: PageService, gallery: Gallery, extractor: PartExtractor) -> None:
    query = ask(service, person(RED, BLACK)).query
    comparison = service.compare(ItemQuestion(query=query, item="ben_c1"))
    by_slot = {part.slot: part for part in comparison.parts}
    expected = gallery.search(extractor.embed([person(RED, BLACK)]), 1, where=Filter(ids="ben_c1"))
    assert by_slot["torso"].distance == pytest.approx(float(expected.part_distances[0, 0, 1]))
    assert by_slot["legs"].distance is None
    assert (by_slot["legs"].query.visibility, by_slot["legs"].item.visibility) == (0, 1)
    assert comparison.problems == ()
    kind, _, data = by_slot["torso"].item.attention.partition(",")
    assert kind == "data:image/jpeg;base64"
    heat = pixels(base64.b64decode(data)).astype(int)
    color = heat.max(axis=2) - heat.min(axis=2)
    middle = len(heat) // 2
    assert color[: middle // 2].mean() > 30 + color[-middle // 2 :].mean()  # the torso is above, the rest is grey


def test_bars_are_on_one_scale_on_which_an_identical_image_looks_near(
    service: PageService, gallery: Gallery, extractor: PartExtractor
) -> None:
    """Not the farthest part of each result: an identical image looked as far as any other."""
    image = person(RED, GREEN, seed=1)  # as anna_c1's file
    query = ask(service, image).query
    scales, farthest = set(), {}
    for item in ("anna_c1", "anna_c2", "ben_c1", "carla_c2"):
        comparison = service.compare(ItemQuestion(query=query, item=item))
        scales.add(comparison.full_bar)
        farthest[item] = max(part.distance or 0.0 for part in comparison.parts)
    (full,) = scales
    assert full is not None
    assert farthest["anna_c1"] < 1e-3 * full
    assert farthest["anna_c2"] < 0.1 * full
    assert farthest["ben_c1"] > 0.5 * full
    # Each way of comparing has a scale of its own, and a gallery of one item has none.
    normalized = service.compare(ItemQuestion(query=query, item="ben_c1", normalize=True))
    assert normalized.full_bar is not None
    assert normalized.full_bar <= 2
    alone = Gallery(extractor=extractor)
    alone.add(extractor.embed([image]), ["a"])
    assert PageService(alone, extractor).compare(ItemQuestion(query=(Sighting(item="a"),), item="a")).full_bar is None


def test_how_images_are_compared_is_said(gallery: Gallery, extractor: PartExtractor) -> None:
    about = PageService(gallery, extractor, calibration_problem="It is for another model.").about()
    assert about.compared == (
        "Compared: all slots; a part is visible where it wins the argmax over a pixel; weight v_q·v_g; vectors as they "
        "are; without mirror images; no calibration."
    )
    assert about.matching["matching"]["normalize"] is False
    assert about.calibration_problem == "It is for another model."
    matching = MatchingConfig(normalize=True, slots=("torso",))
    fitted = calibration().model_copy(update={"matching": matching})
    about = PageService(gallery, extractor, calibration=fitted).about()
    assert "slots torso;" in about.compared
    assert "divided by their length" in about.compared
    assert "calibrated on colours" in about.compared
    assert [slot.name for slot in about.slots] == ["torso"]
    with pytest.raises(ShapeError, match="tail"):  # when it starts, not at the first question
        PageService(
            gallery, extractor, calibration=fitted.model_copy(update={"matching": MatchingConfig(slots=("tail",))})
        )


def test_a_image_that_is_gone(service: PageService, tmp_path: Path) -> None:
    (tmp_path / "anna_c1.png").unlink()
    with pytest.raises(UnknownImageError, match="not there any more"):
        service.item_image("anna_c1")
    comparison = service.compare(ItemQuestion(query=ask(service, person(RED, GREEN)).query, item="anna_c1"))
    assert comparison.item == ""
    assert all(part.item.attention == "" and part.query.attention for part in comparison.parts)
    assert comparison.found.distance is not None
    assert "not there any more" in comparison.problems[0]
    by_item = service.compare(ItemQuestion(query=(Sighting(item="anna_c1"),), item="anna_c2"))
    assert by_item.queries == ("",)
    assert by_item.item


@pytest.mark.parametrize(
    "metadata",
    [{}, {"file": 3}, {"file": "relative.png"}, {"file": "/dev/zero"}, {"file": "/etc/passwd"}, {"file": "/"},
     {"file": "/" + "x" * 5000}, {"file": "FILE", "box": [1, 2, 3]},
     {"file": "FILE", "box": [0, 0, 10**400, 9]}, {"file": "FILE", "box": [True, True, True, True]},
     {"file": "FILE", "box": "0,0,9,9"}, {"file": "FILE", "box": [[0, 0], [9, 9]]},
     {"file": "/proc/self/environ"}, {"file": "/proc/self/pagemap"}, {"file": "http://127.0.0.1/x.jpg"},
     {"file": "FILE", "box": {"a": "b"}}, {"file": "FILE", "box": [900, 900, 990, 990]}, {"file": "PIPE"}],
)  # fmt: skip
def test_no_image_but_words(
    gallery: Gallery, service: PageService, extractor: PartExtractor, tmp_path: Path, metadata: dict[str, Any]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    names = {"FILE": str(tmp_path / "anna_c1.png"), "PIPE": str(tmp_path / "pipe")}
    file = metadata.get("file")
    gallery.add(
        extractor.embed([person(RED, GREEN)]),
        ["odd"],
        metadata=[metadata | ({"file": names[file]} if file in names else {})],
    )
    with pytest.raises(UnknownImageError) as raised:
        service.item_image("odd")
    assert str(tmp_path) not in str(raised.value)


def test_an_items_box_is_cut_out(
    gallery: Gallery, service: PageService, extractor: PartExtractor, tmp_path: Path
) -> None:
    frame = np.zeros((300, 400, 3), np.uint8)
    frame[100:200, 200:250] = (10, 200, 30)
    (tmp_path / "frame.png").write_bytes(png(frame))
    metadata = {"file": str(tmp_path / "frame.png"), "box": [200, 100, 250, 200.0]}
    gallery.add(extractor.embed([frame[100:200, 200:250]]), ["boxed"], metadata=[metadata])
    shown = pixels(service.item_image("boxed"))
    assert shown.shape == (100, 50, 3)
    assert abs(shown.astype(int) - (10, 200, 30)).max() < 12


def test_files_are_never_handed_out_as_they_are(gallery: Gallery, service: PageService, tmp_path: Path) -> None:
    file = tmp_path / "anna_c1.png"
    secret = b"SECRET-TAIL"
    file.write_bytes(file.read_bytes() + secret)
    assert secret not in service.item_image("anna_c1")
    kept = service.keep(png(person(RED, GREEN)) + secret)
    assert secret not in service.preview(kept.image)


def test_uploads(service: PageService) -> None:
    kept = service.keep(png(np.zeros((20, 3000, 3), np.uint8)))
    assert (kept.width, kept.height) == (3000, 20)
    assert pixels(service.preview(kept.image)).shape[1] == 1600
    for data in (b"", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n", png(person(RED, GREEN))[:200], b"\xff\xd8\xff\xe0junk"):
        with pytest.raises(DataError, match=r"no image|damaged"):
            service.keep(data)
    with pytest.raises(UnknownImageError, match="Send it again"):
        service.preview("nothing")


def test_a_small_file_of_many_pixels_is_not_decoded(gallery: Gallery, extractor: PartExtractor) -> None:
    service = PageService(gallery, extractor, limits=Limits(pixels=10_000, upload_bytes=50_000))
    buffer = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(buffer, format="PNG")
    with pytest.raises(TooLargeError, match="more than 0.01 million pixels"):
        service.keep(buffer.getvalue()[:40_000])
    with pytest.raises(TooLargeError, match="more than 0.01 million pixels"):
        service.keep(png(person(RED, GREEN, size=(200, 60))))
    with pytest.raises(TooLargeError, match="larger than"):
        service.keep(b"x" * 50_001)


def test_uploads_are_turned_upright(service: PageService) -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(buffer, format="JPEG", exif=exif)
    kept = service.keep(buffer.getvalue())
    assert (kept.width, kept.height) == (20, 40)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_the_page_sees_what_a_command_sees(service: PageService, tmp_path: Path, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(person(RED, GREEN))).save(tmp_path / "phone", form, exif=exif)
    kept = service.keep((tmp_path / "phone").read_bytes())
    found = service.kept.get(kept.image)
    assert found is not None
    np.testing.assert_array_equal(found.image, read_image(tmp_path / "phone"))
    assert (kept.height, kept.width) == person(RED, GREEN).shape[:2]


def test_old_images_are_forgotten(gallery: Gallery, extractor: PartExtractor) -> None:
    service = PageService(gallery, extractor, limits=Limits(kept_bytes=3 * HEIGHT * WIDTH * 3))
    names = [sent(service, person(RED, GREEN, seed=i)) for i in range(3)]
    service.preview(names[0])
    names.append(sent(service, person(RED, GREEN, seed=3)))
    assert len(service.kept) == 3
    with pytest.raises(UnknownImageError, match="Send it again"):
        service.search(Question(query=(Sighting(image=names[1]),)))
    service.search(Question(query=(Sighting(image=names[0]),)))


def test_questions_that_make_no_sense() -> None:
    queries: list[list[dict[str, Any]]] = [
        [],
        [{}],
        [{"image": "a", "item": "b"}],
        [{"item": "b", "box": [1, 2, 3, 4]}],
        [{"image": "a"}] * 9,
        [{"image": "a", "box": [1, 2, 3]}],
        [{"image": "a", "box": [1, 2, 3, float("nan")]}],
    ]
    for query in queries:
        with pytest.raises(ConfigError):
            Question.parse({"query": query}, source="question")
    with pytest.raises(ConfigError, match=r"Did you mean 'where'"):
        Question.parse({"query": [{"item": "a"}], "were": {}}, source="question")


def test_another_models_gallery_is_refused(gallery: Gallery) -> None:
    class Other(ColorRunner):
        fingerprint = "other"

    with pytest.raises(DataError, match="made by the model colours"):
        PageService(gallery, PartExtractor.from_runner(Other()))


def test_about_tells_no_password(gallery: Gallery, extractor: PartExtractor) -> None:
    for location, name in {
        "/data/people/": "people",
        "memory": "memory",
        "postgres://user:secret@host/places?gallery=west": "places",
        "postgres://user:secret@host": "host",
    }.items():
        gallery.store.location = location
        assert PageService(gallery, extractor).about().gallery == name


def test_only_so_many_cameras_are_listed(
    gallery: Gallery, extractor: PartExtractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = PageService(gallery, extractor).about()
    assert (about.cameras, about.more_cameras) == (("1", "2"), False)
    monkeypatch.setattr("partreid.app.service.MOST_CAMERAS", 1)
    about = PageService(gallery, extractor).about()
    assert (about.cameras, about.more_cameras) == (("1",), True)


def test_found_metadata_is_text(gallery: Gallery, service: PageService, extractor: PartExtractor) -> None:
    e = replace(extractor.embed([person(RED, GREEN, seed=1)]))
    gallery.add(e, [EVIL], cameras=EVIL, metadata=[{EVIL: EVIL, "list": [1, {"a": None}], "track": EVIL}])
    found = {one.id: one for one in service.search(ask(service, person(RED, GREEN))).results}[EVIL]
    assert dict(found.metadata) == {EVIL: EVIL, "list": '[1, {"a": null}]', "track": EVIL}
    assert (found.camera, found.track) == (EVIL, EVIL)


def test_much_metadata_is_cut_and_says_so(gallery: Gallery, service: PageService, extractor: PartExtractor) -> None:
    metadata = {"long": "x" * 5000} | {f"key {i}": i for i in range(150)}
    gallery.add(extractor.embed([person(RED, GREEN, seed=1)]), ["much"], metadata=[metadata])
    found = {one.id: one for one in service.search(ask(service, person(RED, GREEN))).results}["much"]
    assert len(found.metadata) == 101
    assert len(found.metadata[0][1]) < 2010
    assert found.metadata[-1] == ("…", "and 51 more")
