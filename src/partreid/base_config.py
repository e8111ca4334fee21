"""The base of every configuration: frozen pydantic models, dotted overrides, TOML and YAML in and out.

This module knows no field. Each configuration stands next to the code that reads it.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, get_args

import tomli_w
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from partreid.errors import ConfigError, WrongNameError, nearest


class ConfigModel(BaseModel):
    """Frozen configuration; unknown fields are refused, and a field's docstring is its description."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )

    def __init__(self, **data: Any) -> None:
        """A configuration of these fields.

        Raises:
            ConfigError: as :meth:`parse`.
        """
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise _wrong(type(self), error, type(self).__name__) from None

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            try:
                return super().__getattr__(name)
            except AttributeError:
                if name.startswith("_"):
                    raise
                raise WrongNameError(f"{type(self).__name__} has no {name!r}. {_suggest(type(self), name)}") from None

    # pydantic's own mark of an ``__init__`` that only validates: without it, nested models would be made by calling it,
    # and an error in one of them would lose its place.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Python, and pydantic with it, takes true for 1."""
        field = cls.model_fields.get(info.field_name or "")
        if field is not None and _holds(value, bool) and not _takes_truth(field.annotation):
            raise ValueError("expected a number or a text, not true or false")
        return value

    @classmethod
    def parse(cls, data: Mapping[str, Any], *, source: str = "configuration") -> Self:
        """Validate ``data``.

        Raises:
            ConfigError: naming every wrong field, its value, what was expected, and for an unknown field the
                nearest known one.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise _wrong(cls, error, source) from None

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a ``.toml``, ``.yaml``/``.yml`` or ``.json`` file.

        Raises:
            ConfigError: the file is missing, not readable as such, or holds a wrong field.
        """
        return cls.parse(read_config_file(path), source=str(path))

    @classmethod
    def given(cls, value: Self | None) -> Self:
        """What was given as an argument of this class: itself, or one of defaults where None.

        Raises:
            ConfigError: it is something else, a mapping for example: what an empty one asks for is a guess.
        """
        if value is None:
            return cls()
        if not isinstance(value, cls):
            raise ConfigError(f"Expected {cls.__name__}(...) or None, got {value!r:.80}.")
        return value

    def override(self, *changes: str | Iterable[str] | Mapping[str, Any], **fields: Any) -> Self:
        """A copy with other values; the last one of a field wins.

        Args:
            changes: ``section.field=value`` texts, singly or in a list, their values read as YAML scalars or lists; or
                mappings of fields, dotted or one mapping per section. fields: the same as keywords.

        Raises:
            ConfigError: a text has no ``=``, a field is unknown, or a value does not fit.

        Example:
            >>> from partreid.training.train_config import TrainConfig
            >>> config = TrainConfig()
            >>> config.override("optimizer.epochs=30", "seed=1") == config.override({"optimizer.epochs": 30}, seed=1)
            True
        """
        data = self.model_dump(mode="json")
        for change in (*changes, fields):
            if isinstance(change, Mapping):
                for key, value in change.items():
                    _assign(type(self), data, str(key), value)
                continue
            if not isinstance(change, Iterable):
                raise ConfigError(f"Expected section.field=value or a mapping of fields, got {change!r:.80}.")
            for assignment in (change,) if isinstance(change, str) else change:
                key, equals, text = str(assignment).partition("=")
                if not equals or not key:
                    raise ConfigError(f"Expected section.field=value, got {assignment!r}.")
                _assign(type(self), data, key.strip(), _scalar(text), text=text)
        return type(self).parse(data, source="override")

    def to_toml(self) -> str:
        """As TOML text. Fields that are None are left out: TOML has no null."""
        return tomli_w.dumps(_without_none(self.model_dump(mode="json")))

    def diff(self, other: ConfigModel) -> dict[str, tuple[Any, Any]]:
        """The fields in which two configurations differ, in their order: dotted name → (value here, value there).

        Raises:
            ConfigError: the other is no configuration.
        """
        if not isinstance(other, ConfigModel):
            raise ConfigError(f"Expected another {type(self).__name__} to compare with, got {other!r:.80}.")
        mine, theirs = ({key: value for key, value in flatten(c) if value != {}} for c in (self, other))
        return {key: (mine.get(key), theirs.get(key)) for key in mine | theirs if mine.get(key) != theirs.get(key)}


def _holds(value: Any, kind: type) -> bool:
    return isinstance(value, kind) or (isinstance(value, list | tuple) and any(_holds(one, kind) for one in value))


def _takes_truth(annotation: Any) -> bool:
    return annotation in (bool, Any) or any(_takes_truth(one) for one in get_args(annotation))


def flatten(config: ConfigModel | Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each ``(dotted field, value)`` of a configuration, in order."""
    data = config.model_dump(mode="json") if isinstance(config, ConfigModel) else config
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """What each dotted field of a configuration's class means, in the order of :func:`flatten`."""
    found: dict[str, str] = {}
    for name, field in model.model_fields.items():
        section = _section(field.annotation)
        if section is None:
            found[name] = field.description or ""
        else:
            found |= {f"{name}.{key}": meaning for key, meaning in meanings(section).items()}
    return found


def read_config_file(path: str | Path) -> dict[str, Any]:
    """The mapping in a TOML, YAML or JSON file.

    Raises:
        ConfigError: missing, unreadable, or not a mapping.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin with a mark
    except OSError as error:
        raise ConfigError(f"Cannot read configuration {path}: {error.strerror or error}.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"Cannot read configuration {path}: it is not UTF-8 text ({error}).") from None
    except ValueError as error:  # a name that no file can have
        raise ConfigError(f"Cannot read configuration {str(path)!r}: {error}.") from None
    kind, parse = _PARSERS.get(path.suffix.lower(), _PARSERS[".yaml"])
    try:
        data = parse(text)
    except RecursionError:
        raise ConfigError(f"{path} is not valid {kind}: it is nested too deeply.") from None
    except (ValueError, yaml.YAMLError) as error:  # tomllib's and json's errors are ValueErrors
        raise ConfigError(f"{path} is not valid {kind}: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a table of sections and fields, got {type(data).__name__}.")
    return data


class _Yaml(yaml.SafeLoader):
    """YAML as people mean it: no name twice, and no number in base 8 or 60 (YAML 1.1 reads 010 as 8, 1:30 as 90)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        _once([(name, None) for name in names])
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_Yaml.yaml_implicit_resolvers = {
    first: [one for one in some if one[0] not in (_INT, _FLOAT)]
    for first, some in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Yaml.add_implicit_resolver(_INT, re.compile(r"[-+]?(?:0|[1-9][0-9_]*)$"), list("-+0123456789"))
_Yaml.add_implicit_resolver(
    _FLOAT,
    re.compile(r"[-+]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))$|\.(?:nan|NaN|NAN)$"),
    list("-+0123456789."),
)


def _read_yaml(text: str) -> Any:
    loader = _Yaml(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _once(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """Names and values as a mapping, where no name stands twice: which one is meant would be a guess."""
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r:.80} stands there twice")
    return content


_PARSERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    ".toml": ("TOML", tomllib.loads),
    ".json": ("JSON", partial(json.loads, object_pairs_hook=_once)),
    ".yaml": ("YAML", _read_yaml),
}


def _scalar(text: str) -> Any:
    try:
        value = _read_yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: no such day, or very many digits
        raise ConfigError(f"Cannot read value {text!r:.80}: {error}") from None
    # YAML 1.1 reads 1e-3 as text; people mean a number.
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _assign(model: type[BaseModel], data: dict[str, Any], key: str, value: Any, *, text: str | None = None) -> None:
    """Put a value into the nested fields ``data`` of a configuration, at a dotted key; a mapping for a section changes
    the fields that it names. ``text`` is the value as it was typed, None where it was not."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    *sections, name = key.split(".")
    node = data
    owner: type[BaseModel] | None = model
    for depth, section in enumerate([*sections, name]):
        if owner is None and isinstance(node, dict) and depth == len(sections):
            break  # a field that is a mapping takes any name
        if owner is None or section not in node:
            where = ".".join(sections[:depth]) or "the configuration"
            raise ConfigError(f"{key}={value if text is None else text}: {where} has no field {section!r}. "
                              f"{_suggest(model, key, text)}")  # fmt: skip
        owner = _section(owner.model_fields[section].annotation)
        node = node[section] if depth < len(sections) else node
    if owner is not None and isinstance(value, Mapping):
        for field, one in value.items():
            _assign(model, data, f"{key}.{field}", one)
    else:
        node[name] = value


def _without_none(data: Any) -> Any:
    if isinstance(data, dict):
        return {k: _without_none(v) for k, v in data.items() if v is not None}
    return data


def _wrong(model: type[BaseModel], error: ValidationError, source: str) -> ConfigError:
    """The errors of a validation in words, with the nearest field name where a field is unknown."""
    told = []
    for one in error.errors():
        name = ".".join(map(str, one["loc"]))
        unknown = one["type"] == "extra_forbidden"
        told.append(
            f"unknown field {name!r}. {_suggest(model, name)}"
            if unknown
            else f"{name} = {one['input']!r:.200}: {one['msg']}"
        )
    return ConfigError(f"{source}: {'; '.join(told)}")


def _suggest(model: type[BaseModel], key: str, text: str | None = None) -> str:
    """A sentence that names every field that an unknown one, dotted, may stand for, in whatever section; with its value
    as it was typed."""
    *sections, name = key.split(".")
    where = ".".join(sections)
    fields = {field: field.rpartition(".")[2] for field in meanings(model)}
    if where in fields:
        return f"{where} is a value and has no fields."
    tops = {field.partition(".")[0] for field in fields}
    close = get_close_matches(name, {*fields.values(), *([] if sections else tops)}, n=1)
    meant = (
        (get_close_matches(key, fields, n=1, cutoff=0.85) if sections else [])
        or [field for field, leaf in fields.items() if leaf == name]
        or [field for field, leaf in fields.items() if "".join(word[:1] for word in leaf.split("_")) == name]  # lr
        or [field for field, leaf in fields.items() if leaf in close]
        or [field for field, leaf in fields.items() if name and name in leaf]
    )
    if meant:
        return f"Did you mean {' or '.join(repr(f) if text is None else f'{f}={text}' for f in meant)}?"
    here = [field.removeprefix(f"{where}.") for field in fields if field.startswith(f"{where}.")] if where else []
    return nearest(name, here or tops)


def _section(annotation: Any) -> type[BaseModel] | None:
    """The configuration that a field holds, where it holds one."""
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None
