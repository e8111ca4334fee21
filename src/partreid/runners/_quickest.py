"""The quickest of several ways to run a network on this machine. It is measured once and kept in the cache.

A processor's name does not tell it: bfloat16 is quicker than float32 if the processor has AMX or AVX-512 BF16, and
slower if it must be emulated (docs/performance.md).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import torch

from partreid.errors import ConfigError, DataError
from partreid.files import atomic_file
from partreid.json_files import read_json
from partreid.surroundings import cache_folder

_TURNS = 5


def milliseconds(ways: Mapping[str, Callable[[], object]], *, of: str) -> dict[str, float]:
    """The processor time of each way: a former measurement from the cache, or a new one, which takes about a second.

    Args:
        ways: each does the same work once. of: other things that the times depend on: the file and its library's
            version. Times for another processor, another number of threads or other ways are not used.
    """
    flags = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    has = sorted(name for name, there in flags.items() if there)
    key = {"of": of, "ways": sorted(ways), "processor": has, "threads": torch.get_num_threads()}
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    try:
        kept = cache_folder() / "quickest" / f"{name}.json"
        content = read_json(kept, error=DataError)
        if content["key"] == key and content["milliseconds"].keys() == ways.keys():
            return {way: float(content["milliseconds"][way]) for way in ways}
    except ConfigError:  # there is no cache
        return _measured(ways)
    except (DataError, KeyError, TypeError, AttributeError, ValueError):  # not measured yet, or damaged
        pass
    found = _measured(ways)
    with suppress(OSError, DataError):  # it is measured again the next time
        kept.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(kept, error=DataError) as draft:
            draft.write_text(json.dumps({"key": key, "milliseconds": found}, indent=2), encoding="utf-8")
    return found


def _measured(ways: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Run the ways in turn, so that other work on the machine disturbs all of them equally. The first turn warms up."""
    turns = [{way: _seconds(call) for way, call in ways.items()} for _ in range(1 + _TURNS)][1:]
    return {way: round(1000 * min(turn[way] for turn in turns), 3) for way in ways}


def _seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start
