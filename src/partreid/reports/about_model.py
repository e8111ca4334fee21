"""Facts about a model that only its makers know: ``--about FILE`` of the dossier."""

from __future__ import annotations

from pydantic import Field

from partreid.base_config import ConfigModel

NOT_STATED = "not stated"


class DataTerms(ConfigModel):
    """A data set and its terms of use."""

    name: str
    """Of the set."""
    source: str = NOT_STATED
    """Where it came from."""
    terms: str = NOT_STATED
    """Its licence or terms of use."""
    people: str = NOT_STATED
    """Who is on it, and whether they agreed."""


class AboutModel(ConfigModel):
    """The makers' statements about a model. None of them can be measured; a missing one is shown as "not stated"."""

    license: str = ""
    """Licence of the weights by its name on the Hugging Face Hub, e.g. apache-2.0; empty = as on the model's card."""
    contact: str = NOT_STATED
    """Who is responsible for the model."""
    purpose: tuple[str, ...] = ()
    """Its special purpose, beyond the intended uses of every such model."""
    not_for: tuple[str, ...] = ()
    """Further uses for which it must not be used, beyond those for every such model."""
    limits: tuple[str, ...] = ()
    """Known limits and failures."""
    training_data: tuple[DataTerms, ...] = Field(default=())
    """The data it was trained on, including the data of its starting weights."""
    test_data: tuple[DataTerms, ...] = Field(default=())
    """Terms of the sets on which it is measured."""
