"""What messages show of the addresses of databases: never a password, however it was written."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partreid.errors import DataError
from partreid.retrieval import Gallery
from partreid.retrieval.stores.addresses import hide, postgres_address, without_secrets

SECRET = "hunter2"
SPELLINGS = """
postgres://u:hunter2@127.0.0.1:1/db?gallery=g
postgresql://u:hunter2@127.0.0.1:1/db?gallery=g
Postgres://u:hunter2@127.0.0.1:1/db?gallery=g
postgres:/u:hunter2@127.0.0.1:1/db?gallery=g
postgres:u:hunter2@h/db
postgres://u:hunter2@127.0.0.1:1/db
postgres://u:hunter2@127.0.0.1:port/db?gallery=g
postgres://u@127.0.0.1:1/db?gallery=g&password=hunter2
postgres://u@127.0.0.1:1/db?gallery=g&pass%77ord=hunter2
postgres://u@127.0.0.1:1/db?gallery=g&password=%68unter2
postgres://u@127.0.0.1:1/db?gallery=g&PASSWORD=hunter2
postgres://u@127.0.0.1:1/db?gallery=g&sslpassword=hunter2
postgres://u:%68unter2@127.0.0.1:1/db?gallery=g
postgres://u:hunter2%zz@127.0.0.1:1/db?gallery=g
postgres://u:hunter2/x@127.0.0.1:1/db?gallery=g
postgres://u:x/hunter2@127.0.0.1:1/db?gallery=g
postgres://u:hunter2?x@127.0.0.1:1/db?gallery=g
postgres://u:hunter2#x@127.0.0.1:1/db?gallery=g
postgres://u:hunter2@x@127.0.0.1:1/db?gallery=g
postgres://u:x@hunter2@127.0.0.1:1/db?gallery=g
postgres://u:hunter2/db?gallery=g
postgres://u:hunter2\u2100@127.0.0.1:1/db?gallery=g
postgres://[u:hunter2@127.0.0.1/db?gallery=g
host=127.0.0.1 user=u password=hunter2 dbname=db gallery=g
host=h PASSWORD = 'hunter2 x'
mysql://u:hunter2@h/db
qdrant://u:hunter2@h/n
qdrant://:hunter2@h/n
qdrant://h:hunter2/n
qdrant://hunter2@h/n
qdrant://h/n?api_key=hunter2
qdrant://h/n#hunter2
qdrant:h/n?api_key=hunter2
""".strip().splitlines()


@pytest.mark.parametrize("address", SPELLINGS)
def test_no_message_shows_a_password(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as error:
        Gallery.open(address)
    assert SECRET not in str(error.value)
    assert SECRET not in "".join(traceback.format_exception_only(error.value))
    cause = error.value.__cause__
    while cause is not None:  # what a traceback shows too
        assert SECRET not in str(cause)
        cause = cause.__cause__
    assert SECRET not in without_secrets(address).replace("%68", "h")
    assert list(tmp_path.iterdir()) == []  # no folder of that name was begun


def test_the_key_of_a_qdrant_server_shows_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("qdrant_client")
    monkeypatch.setenv("QDRANT_API_KEY", SECRET)
    with pytest.warns(UserWarning, match="insecure"), pytest.raises(DataError, match="Is the server there"):
        Gallery.open("qdrant://127.0.0.1:1/people")
    for key in (f"{SECRET}\n", f"ü{SECRET}"):
        monkeypatch.setenv("QDRANT_API_KEY", key)
        with pytest.raises(DataError, match="QDRANT_API_KEY holds characters that no key has") as error:
            Gallery.open("qdrant://127.0.0.1:1/people")
        assert SECRET not in str(error.value)


def test_addresses_without_secrets_stay_as_they_are() -> None:
    for place in ("people", "/data/people", "postgres://u@h:5432/db?gallery=a", "qdrant://h:6333/a", "C:\\people"):
        assert without_secrets(place) == place
    address = "postgres://u:p%40ss@h1:1,h2:2/db?gallery=a&sslmode=require&passfile=/home/u/.pgpass"
    connected, name, public, secrets = postgres_address(address)
    assert connected == "postgres://u:p%40ss@h1:1,h2:2/db?sslmode=require&passfile=/home/u/.pgpass"
    assert public == "postgres://u@h1:1,h2:2/db?gallery=a&sslmode=require&passfile=/home/u/.pgpass"
    assert (name, secrets) == ("a", ("p%40ss", "p@ss"))


@settings(derandomize=True, deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=4, max_size=12), st.text(max_size=20))
def test_what_is_hidden_is_gone(secret: str, around: str) -> None:
    assert secret not in hide(f"{around}x{secret}y{secret}", [secret]).replace("***", "\0")
    assert hide("password authentication failed for user a", ["a"]).endswith("user ***")


@settings(derandomize=True, deadline=None)
@given(st.text(max_size=40))
def test_any_text_can_be_shown(text: str) -> None:
    for prefix in ("", "postgres://", "qdrant://u:p@"):
        assert isinstance(without_secrets(prefix + text), str)
