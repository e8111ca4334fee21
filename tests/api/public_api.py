"""What users may import: the doors, and the names at each with their kind and parameters.

``python -m tests.api.public_api`` writes it to ``public_api.txt``, so that a change of it is seen in review.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

DOORS = (
    "partreid", "partreid.app", "partreid.datasets", "partreid.datasets.readers", "partreid.errors",
    "partreid.evaluation", "partreid.experiments", "partreid.export", "partreid.functional", "partreid.inference",
    "partreid.labels", "partreid.lifecycle", "partreid.linking", "partreid.losses", "partreid.models",
    "partreid.reports", "partreid.retrieval", "partreid.runners", "partreid.tracking", "partreid.tracking.adapters",
    "partreid.training", "partreid.types", "partreid.viz",
)  # fmt: skip
LISTED = Path(__file__).with_name("public_api.txt")


def names(door: str) -> list[str]:
    """The public names at a door."""
    module = importlib.import_module(door)
    own = (name for name, thing in vars(module).items() if getattr(thing, "__module__", None) == door)
    return sorted(name for name in getattr(module, "__all__", own) if not name.startswith("_"))


def listing() -> str:
    """Every door and its names, one line each; a thing that stands at several doors is described at the first."""
    return "\n".join(line for door in DOORS for line in ("", f"# {door}", *_described(door))).strip() + "\n"


def _described(door: str) -> Iterator[str]:
    for name in names(door):
        thing = getattr(importlib.import_module(door), name)
        first = next(other for other in DOORS if name in names(other))
        if first != door:
            yield f"{name}: see {first}"
        elif not inspect.isclass(thing):
            yield f"{name}({_parameters(thing)})" if inspect.isfunction(thing) else f"{name}: {type(thing).__name__}"
        else:
            yield f"class {name}({_parameters(thing)})"
            ours = [base.__name__ for base in thing.__bases__ if base.__module__.startswith("partreid.")]
            yield from (f"    as {base}" for base in ours)
            yield from (f"    {member}" for member in _members(thing))


def _members(thing: type) -> Iterator[str]:
    """Its own methods and properties."""
    for name, member in sorted(vars(thing).items()):
        function = getattr(member, "__func__", member)
        if name.startswith("_"):
            continue
        if inspect.isfunction(function):
            yield f"{name}({_parameters(function, bound=not isinstance(member, staticmethod))})"
        elif isinstance(member, property):
            yield name


def _parameters(thing: object, *, bound: bool = False) -> str:
    signs = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    try:
        parameters = list(inspect.signature(thing).parameters.values())[bound:]  # type: ignore[arg-type]
    except ValueError:  # an Enum's of some versions
        return ""
    given = [
        signs.get(p.kind, "") + p.name + ("" if p.default is p.empty or p.kind in signs else "=") for p in parameters
    ]
    only = [i for i, p in enumerate(parameters) if p.kind is p.KEYWORD_ONLY]
    if only and parameters[max(0, only[0] - 1)].kind is not inspect.Parameter.VAR_POSITIONAL:
        given.insert(only[0], "*")
    return ", ".join(given)


if __name__ == "__main__":
    LISTED.write_text(listing(), encoding="utf-8")
