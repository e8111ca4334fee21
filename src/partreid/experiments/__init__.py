"""The paper's tables as experiments: rows that train and compare, and what comes out beside the paper's figures."""

from typing import TYPE_CHECKING

from partreid.doors import door

if TYPE_CHECKING:
    from partreid.experiments.execute import Plan
    from partreid.experiments.rows import Experiment, Row
    from partreid.experiments.summary import Summary, as_json, as_markdown, summarize
    from partreid.experiments.tables import EXPERIMENTS

__all__ = ["EXPERIMENTS", "Experiment", "Plan", "Row", "Summary", "as_json", "as_markdown", "summarize"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = door(__name__)
