"""What only a model's makers know of it: ``--about FILE`` of the dossier."""

from __future__ import annotations

from pydantic import Field

from partreid.base_config import ConfigModel

NOT_STATED = "not stated"


class DataTerms(ConfigModel):
    """A data set and what one may do with it."""

    name: str
    """Of the set."""
    source: str = NOT_STATED
    """Where it was had from."""
    terms: str = NOT_STATED
    """Its licence or terms of use."""
    people: str = NOT_STATED
    """Who is on it, and whether they agreed."""


class AboutModel(ConfigModel):
    """What a model's makers state of it. Nothing of this can be measured; what is missing is "not stated"."""

    license: str = ""
    """Of the weights, as the Hugging Face Hub names it, e.g. apache-2.0; where empty, as the model's card says."""
    contact: str = NOT_STATED
    """Who answers for the model."""
    purpose: tuple[str, ...] = ()
    """What it was made for, beyond what any such model is for."""
    not_for: tuple[str, ...] = ()
    """What it must not be used for, beyond what holds for any such model."""
    limits: tuple[str, ...] = ()
    """Known limits and failures."""
    training_data: tuple[DataTerms, ...] = Field(default=())
    """What it was trained on, that of its starting weights included."""
    test_data: tuple[DataTerms, ...] = Field(default=())
    """Terms of the sets that it is measured on."""
