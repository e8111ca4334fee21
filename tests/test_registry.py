"""Names of own things, of this process and of installed packages; what is broken, taken or missing is told."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from partreid.errors import ConfigError
from partreid.registry import Registry

GROUP = "partreid.test_group"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a package with these entry points, and a module with this code, where Python finds them."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(name: str, points: str, code: str = "") -> None:
        info = tmp_path / f"{name}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{points}\n")
        (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.delitem(sys.modules, name, raising=False)

    return install


def registry() -> Registry[Callable[..., object]]:
    return Registry("thing", group=GROUP, own={"root": "math:sqrt", "power": math.pow})


def test_own_things_are_found_and_imported_late() -> None:
    things = Registry[Callable[..., object]](
        "thing", group=GROUP, own={"late": "partreid_no_such:x", "root": math.sqrt}
    )
    assert things["root"] is math.sqrt
    assert things.names() == ("late", "root")
    with pytest.raises(ModuleNotFoundError):  # it is ours: no other package is to be blamed
        things["late"]


def test_an_unknown_name_has_the_nearest_and_says_what_to_do() -> None:
    with pytest.raises(
        ConfigError, match=rf"Unknown thing 'rot'\. Did you mean 'root'\? .*install it here .*{GROUP}.*reg"
    ):
        registry()["rot"]
    for wrong in (None, 3, ["root"]):
        with pytest.raises(ConfigError, match="Unknown thing"):
            registry()[wrong]  # type: ignore[index]


def test_registering() -> None:
    things = registry()

    @things.register("mine")
    def mine() -> int:
        return 3

    assert things["mine"] is mine
    assert things.register("mine", mine) is mine  # the same again is no harm
    with pytest.raises(ConfigError, match="There is a thing 'mine' already.*replace=True"):
        things.register("mine", math.sin)
    with pytest.raises(ConfigError, match="There is a thing 'root' already"):
        things.register("root", math.sin)
    assert things.own == {"root", "power"}
    things.register("root", math.sin, replace=True)
    assert (things["root"], things.own) == (math.sin, {"power"})
    things.unregister("mine")
    assert "mine" not in things
    for wrong in ("", "a b", "a.b", "/", 3):
        with pytest.raises(ConfigError, match="Expected the name of a thing"):
            things.register(wrong, math.sin)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="Expected a function or a class for the thing 'five', got 5"):
        things.register("five", 5)


def test_a_name_with_a_slash_stands_for_all_that_begin_with_it() -> None:
    things = registry()
    things.register("family/", math.cos)
    assert things["family/any/member"] is math.cos
    assert things.key("family/any/member") == "family/"
    for other in ("family", "families/a", "root/a"):
        with pytest.raises(ConfigError, match="Unknown thing"):
            things[other]


def test_a_package_is_found_and_imported_when_asked_for(package: Callable[..., None]) -> None:
    package("lab", "thing = lab:thing", "def thing():\n    return 7\n")
    things = registry()
    assert "thing" in things.names()
    assert "lab" not in sys.modules
    assert things["thing"]() == 7
    with pytest.raises(ConfigError, match="already"):
        things.register("thing", math.sin)


def test_a_broken_package_is_named_and_does_no_harm_before(package: Callable[..., None]) -> None:
    package("broken", "bad = broken:thing\ngone = broken_elsewhere:x\nnumber = math:pi", "import no_such_library\n")
    things = registry()
    assert things.names() == ("bad", "gone", "number", "power", "root")
    assert things["root"](9.0) == 3
    for name, said in (("bad", "no_such_library"), ("gone", "broken_elsewhere")):
        match = rf"The thing '{name}' of the package broken 1\.2 cannot be imported from .*{said}.*uninstall"
        with pytest.raises(ConfigError, match=match):
            things[name]
    with pytest.raises(ConfigError, match=r"'number' of the package broken 1\.2 is no function or class: 3\.14"):
        things["number"]


def test_two_packages_with_one_name_are_named(package: Callable[..., None]) -> None:
    package("one", "same = math:sin\nfine = math:sin")
    package("two", "same = math:cos")
    things = registry()
    assert things["fine"] is math.sin
    with pytest.raises(
        ConfigError, match=r"package (one|two) 1\.2 and the package (one|two) 1\.2 each have a thing 'sa"
    ):
        things["same"]


def test_a_package_cannot_take_the_place_of_what_is_there(package: Callable[..., None]) -> None:
    package("taker", "root = math:sin")
    things = registry()
    assert things["root"] is math.sqrt
    with pytest.warns(UserWarning, match=r"the package taker 1\.2 has a thing 'root' too: it is not used"):
        things.names()
