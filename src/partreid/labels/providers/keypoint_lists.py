"""The lists beside COCO's keypoints, which give the image and the category of each entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from partreid.errors import LabelError, warn
from partreid.parts import KEYPOINTS

_PERSONS = frozenset({"person", "persons", "people", "pedestrian", "human"})
"""Names of the category whose keypoints are drawn."""


class ListedImage(NamedTuple):
    """An image's name, and its (width, height); 0 if the file does not say."""

    name: str
    size: tuple[float, float] = (0, 0)


def image_list(content: Any, path: Path) -> dict[int | str, ListedImage]:
    """The images of the list ``images`` by id; 1 and 1.0 are the same id.

    Raises:
        LabelError: an entry has no id or no name, a size is no number, or two images have the same id.
    """
    listed = content.get("images", []) if isinstance(content, dict) else None
    found: dict[int | str, ListedImage] = {}
    for image in listed if isinstance(listed, list) else ():
        key = _key(image.get("id")) if isinstance(image, dict) else None
        if key is None or not isinstance(image.get("file_name"), str):
            raise LabelError(f"Every entry of 'images' in {path} needs 'id' and 'file_name'.")
        width, height = (_side(image, side, path) for side in ("width", "height"))
        listed = ListedImage(image["file_name"], (width, height) if width and height else (0, 0))
        if found.setdefault(key, listed) != listed:
            raise LabelError(f"'images' in {path} has two images with id {key}: {found[key].name} and {listed.name}.")
    return found


def _side(image: Mapping[str, Any], side: str, path: Path) -> float:
    """A width or height; 0 if the file does not say (0, -1, null)."""
    value = image.get(side)
    try:
        number = 0.0 if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        raise LabelError(
            f"'images' in {path} says that the {side} of {image['file_name']} is {value!r:.40}; expected pixels."
        ) from None
    return number if 0 < number < 1e9 else 0.0


def image_of(entry: dict[str, Any], index: int, known: Mapping[int | str, ListedImage], path: Path) -> ListedImage:
    """The image of an entry: its ``file_name``, or else the name that the list gives for its ``image_id``, or else the
    id itself.

    Raises:
        LabelError: it has none, or a number without a list.
    """
    key = _key(entry.get("image_id"))
    listed = None
    if key is not None:
        other = str(key) if isinstance(key, int) else int(key) if _is_number(key) else key
        listed = known.get(key) or known.get(other)  # the same number, as text or not
    name = entry.get("file_name")
    if isinstance(name, str) and name:
        return ListedImage(name, listed.size if listed else (0, 0))
    if listed is not None:
        return listed
    if key is None:
        raise LabelError(f"Entry {index} of {path} has no 'image_id' (the image's name, or a number).")
    if not isinstance(key, str):
        raise LabelError(
            f"Entry {index} of {path} belongs to image {key}, which no list of images explains. Give names as "
            "'image_id', or the COCO JSON with the 'images' that the keypoints were made for (--image-list)."
        )
    return ListedImage(key)


def without_other_categories(
    entries: Sequence[dict[str, Any]], categories: Any, path: Path, *, expected: str
) -> list[dict[str, Any]]:
    """The entries of persons; a warning reports others.

    Args:
        entries: with or without ``category_id``. categories: COCO's list of what the numbers mean, or None.
        path: for messages. expected: what keypoints should be, for messages.

    Raises:
        LabelError: no entry is of a person, the categories are unknown, or a person's keypoints are named in another
            order.
    """
    named = [one for one in categories if isinstance(one, dict)] if isinstance(categories, list) else []
    names = {_category(one.get("id")): str(one.get("name", "")).strip() for one in named}
    persons = {_category(one.get("id")) for one in named if _is_person(one, len(named) == 1, path, expected)}
    used = {_category(entry.get("category_id")) for entry in entries} - {None}
    if not names:
        if len(used) > 1:
            raise LabelError(
                f"{path} has entries of the categories {', '.join(sorted(map(str, used)))}, and no list says which are "
                "persons. Keep theirs only, or give the COCO JSON with the 'categories' (--image-list)."
            )
        return list(entries)
    kept = [entry for entry in entries if (key := _category(entry.get("category_id"))) is None or key in persons]
    others = ", ".join(sorted({names.get(key) or str(key) for key in used - persons}))
    if not kept:
        raise LabelError(f"{path} holds no person: all {len(entries)} entries are of the category {others}.")
    if left_out := len(entries) - len(kept):
        what = "1 entry" if left_out == 1 else f"{left_out} entries"
        warn(f"left out: {what} of {path} of other categories than persons: {others}")
    return kept


def _is_person(category: dict[str, Any], alone: bool, path: Path, expected: str) -> bool:
    """Whether a category means persons: by its name, or for the only category by its keypoints' names. In both cases
    the keypoints' names must be ours."""
    joints = category.get("keypoints")
    plain = tuple(_plain(joint) for joint in joints) if isinstance(joints, list) else ()
    by_name = _plain(category.get("name", "")) in _PERSONS
    if plain and plain != KEYPOINTS and (by_name or alone):
        raise LabelError(f"{path} has the keypoints {', '.join(plain)}. {expected}.")
    return by_name or (alone and plain == KEYPOINTS)


def _category(value: Any) -> int | str | None:
    """A category's id. Unlike in names of images, a number written as text is the same as the number."""
    key = _key(value)
    return int(key) if isinstance(key, str) and _is_number(key) else key


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) < 20


def _plain(name: object) -> str:
    return str(name).strip().lower().replace(" ", "_").replace("-", "_")


def _key(value: Any) -> int | str | None:
    """An id in the form in which ids are compared: whole numbers are the same in every notation; None = not an id."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None
