"""JSON of any origin: what it holds, or the error that the caller asked for, in little time and memory."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from partreid.base_config import read_config_file
from partreid.errors import CheckpointError, ConfigError, DataError
from partreid.json_files import parse_json, read_json
from partreid.retrieval.matching import MatchingConfig

WRONG = {
    "deep list": "[" * 10**6,
    "deep object": '{"a":' * 10**6,
    "400 digits": "1" * 400,
    "5000 digits": "-" + "1" * 5000,
    "NaN": "[NaN]",
    "infinity": "-Infinity",
    "1e999": "1e999",
    "long fraction": "0." + "1" * 5000,
    "nothing": "",
    "half": '{"a": ',
    "two": "{} {}",
    "words": "hello",
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_plain_json(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(WRONG[kind])
    with pytest.raises(CheckpointError, match=r"a\.json cannot be read: "):
        read_json(path, error=CheckpointError)
    with pytest.raises(DataError, match="^the header cannot be read: "):
        parse_json(WRONG[kind], source="the header", error=DataError)


def test_what_is_json(tmp_path: Path) -> None:
    content = {"a": [1, -2.5, 10**30, None, True], "ä": "\udcff", "": {}}
    path = tmp_path / "a.json"
    for text in (json.dumps(content), json.dumps(content, indent=2), "\ufeff" + json.dumps(content)):
        path.write_text(text, encoding="utf-8")
        assert read_json(path) == content
    assert parse_json("[NaN, Infinity]", source="a", nan=True)[1] == float("inf")


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "latin").write_bytes(b'"\xff"')
    with (tmp_path / "large").open("wb") as file:
        file.truncate(65 * 2**20)
    for name, message in (
        ("missing", "No such file"),
        ("pipe", "it is no file"),
        (".", "it is no file"),
        ("latin", "utf-8"),
        ("large", "bytes are more than such a file has"),
        ("a\0b", "is no name"),
    ):
        with pytest.raises(DataError, match=message):
            read_json(tmp_path / name, error=DataError)


@pytest.mark.parametrize("suffix", [".json", ".toml", ".yaml"])
@pytest.mark.parametrize("value", ["[" * 10**5, "9" * 5000])
def test_configurations_too(suffix: str, value: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_text({".json": '{"a": %s}', ".toml": "a = %s", ".yaml": "a: %s"}[suffix] % value)
    with pytest.raises(ConfigError, match=rf"a\{suffix} is not valid"):
        read_config_file(path)


@pytest.mark.parametrize("value", ["[" * 10**5, "9" * 5000, "2026-13-45"])
def test_values_on_the_command_line_too(value: str) -> None:
    with pytest.raises(ConfigError, match="Cannot read value"):
        MatchingConfig().override([f"visibility_threshold={value}"])
