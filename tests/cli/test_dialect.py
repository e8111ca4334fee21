"""One dialect: an option is spelled, typed and meant alike in every command that has it."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import NoneType, SimpleNamespace
from typing import Any, NamedTuple, get_args, get_type_hints

import pytest

from partreid.cli.options import _NETWORK_PRESETS, _PRESETS, _datasets, _fields, _query_sets, _test_fields
from partreid.datasets import SyntheticConfig
from partreid.training.network_presets import NETWORK_PRESETS
from partreid.training.presets import PRESETS
from tests.cli.conftest import every_command

DIFFERENT_DEFAULTS = {
    "--precision": "what scores or draws computes in float32, so that scores of two machines can be compared; what "
    "embeds or trains takes what is quick",
    "--out": "what is written differs",
    "--format": "embeddings are written in one, and what a table of boxes is read in its content tells",
    "--every": "evaluate uses frames with --reassociation only, and refuses it without",
    "--batch-size": "training's is a field of its configuration",
    "--schema": "an official file says its own",
    "--split": "labels are made for what has none, and shown of the training images",
    "--top": "a figure has room for fewer",
    "--worst": "labels show is about bad labels; a figure shows none unless asked",
}
DIFFERENT_TYPES = {
    "--camera": "items are of one camera, and searched in several",
    "--query": "a figure is of one query set",
    "--format": "embeddings are written in one, and a table of boxes is read in another",
    "--boxes": "link is given the tables of several videos, the others what the numbers of one mean",
    "--data": "an export is measured on one data set",
    "--split": "labels are shown of one split, and made for several",
}


class Option(NamedTuple):
    """An option of a command, and the type of its value: what is not None."""

    parameter: Any
    type: str

    @property
    def shape(self) -> tuple[object, ...]:
        one = self.parameter
        return self.type, one.multiple, one.nargs, one.metavar, one.is_flag


Options = dict[str, dict[str, Option]]


@pytest.fixture(scope="module")
def options() -> Options:
    """The options by their first spelling and by command."""
    found: Options = defaultdict(dict)
    for name, command in every_command().items():
        hints = get_type_hints(inspect.unwrap(command.callback))
        for parameter in command.params:
            if parameter.param_type_name == "option" and parameter.name in hints:
                hint = hints[parameter.name]
                kinds = (
                    [kind for kind in get_args(hint) if kind is not NoneType] if NoneType in get_args(hint) else [hint]
                )
                found[parameter.opts[0]][name] = Option(parameter, str(kinds))
    assert len(found) > 80, "the whole tree was walked"
    return found


def differing(options: Options, fact: Callable[[Option], object]) -> dict[str, dict[str, object]]:
    """What is said of an option, by option and command, where commands differ."""
    told = {option: {name: fact(one) for name, one in by.items()} for option, by in options.items()}
    return {option: by for option, by in told.items() if len(set(by.values())) > 1}


def test_an_option_has_the_same_spellings_in_every_command(options: Options) -> None:
    assert differing(options, lambda one: (*one.parameter.opts, *one.parameter.secondary_opts)) == {}
    short = {
        spelling: one for one, by in options.items() for each in by.values() for spelling in each.parameter.opts[1:]
    }
    assert short == {"-o": "--out", "-m": "--model", "-g": "--gallery", "-k": "--top", "-y": "--yes"}


def test_an_option_has_one_type_and_one_metavar(options: Options) -> None:
    found = differing(options, lambda one: one.shape)
    assert {option: by for option, by in found.items() if option not in DIFFERENT_TYPES} == {}
    assert found.keys() == DIFFERENT_TYPES.keys(), "an exception that is none any more"


def test_an_option_has_one_default(options: Options) -> None:
    given = {option: {n: one for n, one in by.items() if not one.parameter.required} for option, by in options.items()}
    found = differing(given, lambda one: str(one.parameter.default or None))
    assert {option: by for option, by in found.items() if option not in DIFFERENT_DEFAULTS} == {}
    assert found.keys() == DIFFERENT_DEFAULTS.keys(), "an exception that is none any more"


def test_rendering_says_its_defaults(options: Options) -> None:
    config = SyntheticConfig()
    for option, default in {
        "--train-ids": config.train_identities, "--test-ids": config.test_identities, "--height": config.image_height,
        "--width": config.image_width, "--seed": config.seed, "--detector-noise": config.detector_noise,
    }.items():  # fmt: skip
        assert options[option]["synth"].parameter.help.endswith(f"Default: {default:g}.")


def test_every_option_says_what_it_does(options: Options) -> None:
    silent = [(option, name) for option, by in options.items() for name, one in by.items() if not one.parameter.help]
    assert silent == []


def test_values_are_completed(options: Options, blocks: Path) -> None:
    assert tuple(PRESETS) == _PRESETS
    assert tuple(NETWORK_PRESETS) == _NETWORK_PRESETS
    assert "market1501" in _datasets()
    assert "optimizer.epochs=" in _fields()
    assert {"model.visibility=", "matching.slots="} <= set(_test_fields())
    for data in (str(blocks), [str(blocks)]):
        assert _query_sets(SimpleNamespace(params={"data": data}), "h") == ["holistic"]  # type: ignore[arg-type]
    for nothing in (None, [], "nowhere"):
        assert _query_sets(SimpleNamespace(params={"data": nothing}), "") == []  # type: ignore[arg-type]
