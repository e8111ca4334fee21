"""Right and wrong arguments for public functions, and what may come of them.

The rule: a value that does not fit raises a ``PartReIDError``. An argument of another Python type than its annotation
may raise Python's own ``TypeError``, and where nothing is guided (``partreid.objects``) an ``AttributeError``. Nothing
else may come out, and right arguments give no NaN.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from partreid.errors import PartReIDError
from partreid.objects import Guided
from partreid.types import PartEmbeddings
from partreid.types._id_values import items

try:
    import pandas as pd
except ImportError:  # what the package does not need
    pd = None
MISSING = () if pd is None else (pd.NA, pd.NaT, pd.Timestamp("2026-01-01"))

WRITERS: dict[str, Callable[[list[int]], Any]] = {
    "list": list,
    "tuple": tuple,
    "floats": lambda ids: [float(i) for i in ids],
    "mixed": lambda ids: [np.int16(i) if k % 2 else float(i) for k, i in enumerate(ids)],
    "tensors": lambda ids: [torch.tensor(i) for i in ids],
    "decimals": lambda ids: [Decimal(i) for i in ids],
    "text": lambda ids: [str(i) for i in ids],
    "padded text": lambda ids: [f"{i:04d}" for i in ids],
    "array of text": lambda ids: np.array([f"{i:04d}" for i in ids], dtype="<U8"),
    "array of bytes": lambda ids: np.array([str(i).encode() for i in ids], dtype="S8"),
    "objects": lambda ids: np.array(ids, object),
    "masked": lambda ids: np.ma.array(ids, np.int64, mask=np.zeros(len(ids), bool)),
    **{f"array of {kind}": lambda ids, kind=kind: np.array(ids, kind)  # type: ignore[misc]
       for kind in ("i1", "i2", "i4", "i8", ">i4", "f2", "f4", "f8", "g")},
    **{f"tensor of {kind}": lambda ids, kind=kind: torch.tensor(ids, dtype=kind)  # type: ignore[misc]
       for kind in (torch.int8, torch.int16, torch.int32, torch.int64, torch.bfloat16, torch.float16, torch.float64)},
}  # fmt: skip
"""Ways to write small whole numbers, all of which mean the same."""
if pd is not None:
    WRITERS |= {
        "series": pd.Series, "categorical": pd.Categorical, "index": pd.Index,
        "nullable": lambda ids: pd.Series(ids, dtype="Int64"),
        "series of floats": lambda ids: pd.Series(ids, dtype=float),
        "series of text": lambda ids: pd.Series([str(i) for i in ids], dtype="string"),
        "categorical text": lambda ids: pd.Categorical([f"{i:04d}" for i in ids]),
    }  # fmt: skip

OTHER_TYPES = st.sampled_from([None, "text", b"bytes", 3, 2.5, [], {}, [None], ("a", 1), object()])
STRINGS = st.sampled_from(
    ["", " ", "\0", "..", "../../etc", "ä🙂", "\ud800", "x" * 5000, "-1", "nan", "a=b=c", "[bold]"]
)
NUMBERS = st.sampled_from([0, -1, 1, 2, 7, -(2**40), float("nan"), float("inf"), -float("inf"), -0.5, 1.5, 1e300,
                           True, np.True_, np.int8(3), np.float32(0.5)])  # fmt: skip


SCALARS = st.sampled_from([
    None, True, np.True_, 0, 1, -1, -2, 2**53, 2**63, 10**25, 10**5000, 1.0, 1.5, 2.0**53, float("nan"), float("inf"),
    np.nan, np.int8(1), np.uint64(2**63), np.float16(1), np.float32(2**24), np.float64("nan"), np.datetime64("NaT"),
    np.datetime64("2026-01-01"), np.timedelta64(1, "s"), np.str_("1"), np.ma.masked, "", " ", "1", "01", "1.0",
    "-1", "nan", "NaN", "None", "0001_c1", "ä🙂", "\ud800", "9" * 5000, b"1", b"\xff", Decimal(1), Decimal("1.5"),
    Decimal("NaN"), Decimal("sNaN"), Decimal("1e99999"), Fraction(1), 1j, torch.tensor(1), torch.tensor(float("nan")),
    torch.zeros(2), np.array(1), np.zeros(2), [1], (), {}, {1}, datetime(2026, 1, 1, tzinfo=UTC), Path("a"), object(),
    *MISSING,
])  # fmt: skip
"""Everything that has been found among ids."""


@dataclass(frozen=True)
class Target:
    """A public function and right arguments for it.

    Attributes:
        name: as in the inventory: module and qualified name, without "partreid.".
        call: the function. arguments: by name; "self" too.
        nan: whether a right result may hold NaN. fixed: arguments that are never made wrong.
        right: whether the arguments are right; False where right ones would need too much.
        id_arguments: those that are ids of any type.
    """

    name: str
    call: Callable[..., Any]
    arguments: st.SearchStrategy[dict[str, Any]]
    nan: bool = False
    fixed: tuple[str, ...] = ()
    right: bool = True
    id_arguments: tuple[str, ...] = ()


def fuzz(call: Callable[..., Any], **arguments: Any) -> Target:
    """A target. Arguments are strategies, or constants; ``all=`` is a strategy of all of them together.

    ``nan``, ``fixed``, ``right`` and ``id_arguments`` are those of the target.
    """
    options = {name: arguments.pop(name) for name in ("nan", "fixed", "right", "id_arguments") if name in arguments}
    name = f"{call.__module__.removeprefix('partreid.')}.{call.__qualname__}"
    if "all" in arguments:
        return Target(name, call, arguments["all"], **options)
    strategies = {k: v if isinstance(v, st.SearchStrategy) else st.just(v) for k, v in arguments.items()}
    return Target(name, call, st.fixed_dictionaries(strategies), **options)


def check_right(target: Target, data: st.DataObject) -> None:
    """Right arguments give a sound result."""
    result = run(target.call, data.draw(target.arguments))
    if not target.nan:
        assert not list(unsound(result)), result


def check_wrong(target: Target, data: st.DataObject) -> None:
    """One or two wrong arguments give a typed error, or a result."""
    arguments = dict(data.draw(target.arguments))
    names = [name for name in arguments if name not in ("self", "cls", *target.fixed)]
    if not names:
        return
    chosen = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
    kinds = []
    for name in chosen:
        if name in target.id_arguments and data.draw(st.booleans()):
            arguments[name], same_type = data.draw(wild_ids(arguments[name])), True
        else:
            arguments[name], same_type = data.draw(corrupted(arguments[name]))
        kinds.append(same_type)
    try:
        run(target.call, arguments)
    except PartReIDError:
        pass
    except TypeError:
        if all(kinds):
            raise
    except AttributeError:
        if all(kinds) or is_guided(target.call):
            raise


def is_guided(call: Callable[..., Any]) -> bool:
    """Whether a function or a constructor answers a wrong type by what was expected."""
    return issubclass(call, Guided) if inspect.isclass(call) else hasattr(call, "__wrapped__")


def run(call: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """The result; of an iterator, its first elements."""
    result = call(**arguments)
    return list(islice(result, 50)) if isinstance(result, Iterator) else result


def unsound(value: Any) -> Iterator[object]:
    """Everything in a result that is NaN."""
    if isinstance(value, Tensor | np.ndarray):
        tensor = (
            torch.as_tensor(value if isinstance(value, Tensor) else np.ascontiguousarray(value))
            if isinstance(value, Tensor) or value.dtype.kind in "fiub"
            else torch.zeros(0)
        )
        if tensor.is_floating_point() and tensor.isnan().any():
            yield value
    elif isinstance(value, float):
        if value != value:
            yield value
    elif isinstance(value, Mapping):
        yield from unsound(list(value.values()))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from unsound(one)
    elif dataclasses.is_dataclass(value) and not inspect.isclass(value):
        yield from unsound([getattr(value, field.name) for field in dataclasses.fields(value)])


@st.composite
def corrupted(draw: st.DrawFn, value: Any) -> tuple[Any, bool]:
    """A wrong value in the place of a right one, and whether it has the right Python type."""
    if draw(st.integers(0, 3)) == 0:
        return draw(OTHER_TYPES), False
    if isinstance(value, Tensor):
        return draw(wrong_tensors(value)), True
    if isinstance(value, PartEmbeddings):
        return draw(wrong_embeddings(value)), True
    if isinstance(value, np.ndarray):
        made = draw(wrong_tensors(torch.from_numpy(np.ascontiguousarray(value))))
        return (made if made.dtype != torch.bfloat16 else made.float()).numpy(), True
    if isinstance(value, bool):
        return not value, True
    if isinstance(value, int | float):
        return draw(NUMBERS), True
    if isinstance(value, str):
        return draw(STRINGS), True
    if isinstance(value, Path):
        return draw(wrong_paths(value)), True
    if isinstance(value, list | tuple):
        return draw(wrong_sequences(value))
    if isinstance(value, dict) and value:
        key = draw(st.sampled_from(sorted(value, key=str)))
        made, same = draw(corrupted(value[key]))
        return draw(st.sampled_from([({**value, key: made}, same), ({}, True), ({**value, "other": made}, same)]))
    return draw(OTHER_TYPES), False


@st.composite
def wild_ids(draw: st.DrawFn, value: Any) -> Any:
    """Ids of every type, right or wrong, in the place of right ones: of one image, of several, or of a whole side."""
    if isinstance(value, tuple):  # (pids, camids)
        place = draw(st.integers(0, len(value) - 1)) if value else 0
        return (*value[:place], draw(wild_ids(value[place])), *value[place + 1 :]) if value else value
    if isinstance(value, int | float | str | None):
        return draw(SCALARS)
    if not isinstance(value, list | np.ndarray | Tensor) or np.ndim(value) != 1:
        return value
    some = [int(one) for one in value]
    if some and draw(st.booleans()):
        some[draw(st.integers(0, len(some) - 1))] = draw(SCALARS)
        return draw(st.sampled_from([some, tuple(some), items(some)]))
    write = draw(st.sampled_from(list(WRITERS.values())))
    return write(some)


@st.composite
def wrong_tensors(draw: st.DrawFn, tensor: Tensor) -> Tensor:
    """Another shape, another type of numbers, or other numbers."""
    kind = draw(st.sampled_from(["shape", "dtype", "content"]))
    if kind == "dtype":
        other = [torch.int64, torch.float16, torch.float64, torch.bool, torch.uint8, torch.complex64, torch.bfloat16]
        return tensor.to(draw(st.sampled_from(other)))
    if kind == "content" and tensor.numel():
        changed = tensor.clone().contiguous()
        numbers = [-1, 0, 1, 2**31 - 1, -(2**31)] if not tensor.is_floating_point() else [
            float("nan"), float("inf"), -float("inf"), -1.0, 0.0, 2.0, 3e38, -3e38, 1e-40]  # fmt: skip
        if tensor.dtype == torch.bool:
            numbers = [0, 1]
        if tensor.dtype == torch.uint8:
            numbers = [0, 255]
        number = draw(st.sampled_from(numbers))
        changed.view(-1)[draw(st.sampled_from([0, tensor.numel() - 1]))] = number
        return changed if draw(st.booleans()) else torch.full_like(tensor, number)
    shapes: list[Callable[[Tensor], Tensor]] = [
        lambda t: t[None],
        lambda t: t[:0] if t.ndim else t[None],
        lambda t: t[0] if t.ndim and len(t) else t,
        lambda t: t[..., :0] if t.ndim else t,
        lambda t: t[..., :1] if t.ndim else t,
        lambda t: t.flatten(),
        lambda t: torch.cat([t, t]) if t.ndim else t,
        lambda t: torch.cat([t, t], dim=-1) if t.ndim else t,
        lambda t: t.transpose(0, -1) if t.ndim > 1 else t,
        lambda t: t.new_zeros(()),
    ]
    return draw(st.sampled_from(shapes))(tensor)


@st.composite
def wrong_embeddings(draw: st.DrawFn, right: PartEmbeddings) -> PartEmbeddings:
    """Embeddings that pass the constructor and are still wrong for something."""
    vectors, visibility, slots = right.vectors.clone(), right.visibility.clone(), right.slots
    kind = draw(st.sampled_from(["nan", "long", "visibility", "slots", "width", "empty", "half", "model", "none seen"]))
    if kind == "nan" and len(right):
        vectors[-1, 0, -1] = draw(st.sampled_from([float("nan"), float("inf"), -float("inf")]))
    if kind == "long":
        vectors = vectors + draw(st.sampled_from([1e20, 3e38, -3e38]))
    if kind == "visibility" and len(right):
        visibility[0, -1] = draw(st.sampled_from([-0.1, 1.1, float("nan"), float("inf"), 1e-45]))
    if kind == "slots":
        slots = tuple(f"other_{slot}" for slot in slots)
    if kind == "width":
        vectors = draw(st.sampled_from([vectors[..., :0], torch.cat([vectors, vectors], dim=2)]))
    if kind == "empty":
        vectors, visibility = vectors[:0], visibility[:0]
    if kind == "half":
        dtype = draw(st.sampled_from([torch.float16, torch.bfloat16, torch.float64]))
        vectors, visibility = vectors.to(dtype), draw(st.sampled_from([visibility, visibility.to(dtype)]))
    if kind == "none seen":
        visibility = torch.zeros_like(visibility)
    return PartEmbeddings(vectors, visibility, slots, "another" if kind == "model" else right.model)


@st.composite
def wrong_paths(draw: st.DrawFn, path: Path) -> Path:
    """A path that is missing, a folder, in a file, or one of a damaged file."""
    kind = draw(st.sampled_from(["missing", "folder", "inside a file", "empty", "cut", "noise", "NUL"]))
    if kind == "folder":
        return path.parent
    if kind == "missing":
        return path.with_name("missing" + path.suffix)
    if kind == "inside a file":
        return path / "a"
    if kind == "NUL":
        return path.with_name("a\0b")
    whole = path.read_bytes() if path.is_file() else b""
    content = {"empty": b"", "cut": whole[: len(whole) // 2], "noise": bytes(range(256)) * 8}[kind]
    path.parent.mkdir(parents=True, exist_ok=True)
    damaged = path.with_name(f"damaged_{kind}{path.suffix}")
    damaged.write_bytes(content)
    return damaged


@st.composite
def wrong_sequences(draw: st.DrawFn, value: list[Any] | tuple[Any, ...]) -> tuple[Any, bool]:
    """Fewer, more, none, or a wrong one among them."""
    kind = draw(st.sampled_from(["none", "fewer", "more", "one"]))
    if kind == "one" and value and not hasattr(value, "_fields"):
        place = draw(st.integers(0, len(value) - 1))
        made, same = draw(corrupted(value[place]))
        return type(value)([*value[:place], made, *value[place + 1 :]]), same
    if hasattr(value, "_fields"):  # a named tuple
        field = draw(st.sampled_from(value._fields))
        made, same = draw(corrupted(getattr(value, field)))
        return value._replace(**{field: made}), same
    return {"none": value[:0], "fewer": value[:-1], "more": value + value, "one": value[:0]}[kind], True


@st.composite
def embeddings(
    draw: st.DrawFn, *, n: int | None = None, slots: tuple[str, ...] = ("foreground", "head", "legs"), width: int = 4
) -> PartEmbeddings:
    """Right embeddings, some slots unseen."""
    count = draw(st.integers(1, 5)) if n is None else n
    random = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    levels = torch.tensor([0.0, 0.3, 1.0, 1.0])
    visibility = levels[torch.randint(0, 4, (count, len(slots)), generator=random)]
    visibility[:, 0] = 1
    return PartEmbeddings(torch.randn(count, len(slots), width, generator=random), visibility, slots)


@st.composite
def tensors(draw: st.DrawFn, *shape: int, kind: str = "normal", high: int = 3) -> Tensor:
    """Right tensors of a shape: "normal", "uniform" in [0, 1], whole numbers below ``high``, or "bool"."""
    random = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    if kind == "integer":
        return torch.randint(0, high, shape, generator=random)
    if kind == "bool":
        return torch.randint(0, 2, shape, generator=random).bool()
    return torch.randn(shape, generator=random) if kind == "normal" else torch.rand(shape, generator=random)
