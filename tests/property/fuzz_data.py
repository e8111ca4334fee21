"""Right arguments of what reads data sets and configurations."""

from __future__ import annotations

import functools
from pathlib import Path

from hypothesis import strategies as st

from partreid.datasets import readers
from partreid.datasets.readers import loose_images
from partreid.training import presets
from tests.conftest import write_blocks
from tests.property.fuzz_types import folder
from tests.property.fuzzing import fuzz


@functools.cache
def dataset() -> Path:
    """A set of a few images. Read only."""
    root = folder()
    for split, persons in (("bounding_box_train", (1, 2)), ("query", (3,)), ("bounding_box_test", (3, 4))):
        write_blocks(root, split, persons, range(2))
    return root


READ = {"labels": st.sampled_from(["auto", None]), "unmatched": st.sampled_from(["raise", "drop", "keep"])}

TARGETS = [
    fuzz(readers.find_datasets, root=st.builds(dataset)),
    fuzz(readers.read_dataset, spec=st.builds(dataset), **READ),
    fuzz(readers.read_datasets, specs=st.builds(lambda: [dataset()]), **READ),
    fuzz(loose_images.read_images, spec=st.builds(dataset), labels=READ["labels"]),
    fuzz(presets.get_preset, name=st.sampled_from(sorted(presets.PRESETS))),
]
