"""The sentences that all descriptions of a model share: cards on the Hub, the shipped model's card, the dossier."""

from __future__ import annotations

from collections.abc import Sequence

from partreid.models.backbones.network_files import NetworkName
from partreid.models.model_config import ModelConfig
from partreid.preprocessing import PreprocessConfig

CARD_FILE = "README.md"
"""A model's card, in its checkpoint folder."""

MEANT_FOR = (
    "Finding, among images of people, those that may show the same person as a query, by the look of the whole body, "
    "also where much of it is hidden.",
    "A short time, hours rather than days: people wear the same clothes on all images.",
    "Answers that a person looks at before anything follows from them.",
)
"""Intended uses of every model of this package."""

NOT_MEANT_FOR = (
    "Saying who somebody is. A distance or a probability is evidence for a person to look at, never an identification.",
    "Decisions on people that nobody checks, and proof of anything before a court.",
    "Finding people again after they changed their clothes, and children or others whom its training did not show.",
    "Uses that the law forbids or that have no legal basis. In the European Union: docs/law.md of partreid.",
)
"""Uses for which no model of this package is meant."""

COMMAND = "partreid dossier"
"""The command that measures a model by groups of images and writes its dossier."""


def front_matter(model: ModelConfig, license: str | None) -> str:
    """The front matter of a card, which the Hugging Face Hub reads."""
    from huggingface_hub import ModelCardData

    named = NetworkName.of(model.backbone)
    backbone = model.backbone.rpartition("/")[2] if named is None else named.path.stem
    tags = ["person-re-identification", "part-based", backbone]
    data = ModelCardData(library_name="partreid", pipeline_tag="image-feature-extraction", tags=tags, license=license)
    return f"---\n{data.to_yaml()}\n---"


def uses() -> str:
    """Markdown: what models are meant for, and what not."""
    lists = ((f"* {line}" for line in lines) for lines in (MEANT_FOR, NOT_MEANT_FOR))
    good, bad = ("\n".join(lines) for lines in lists)
    return f"Meant for:\n\n{good}\n\nNot meant for:\n\n{bad}"


def taken(preprocess: PreprocessConfig) -> str:
    """A model's input, in a sentence."""
    return (
        f"Input: {preprocess.height}×{preprocess.width} pixels (height × width), RGB; the extractor resizes and "
        "normalises."
    )


def given(dimension: int | None, slots: Sequence[str]) -> str:
    """A model's output, in a sentence; None is the backbone's own width."""
    vector = "a vector" if dimension is None else f"{dimension} numbers"
    return f"Output: {vector} and a visibility for each of {', '.join(slots)}."
