"""Self-contained HTML pages about a run, its rankings and its labels."""

from typing import TYPE_CHECKING

from partreid.doors import door

if TYPE_CHECKING:
    from partreid.reports.label_report import LabelReport
    from partreid.reports.run_report import QuerySetReport, RunReport

__all__ = ["LabelReport", "QuerySetReport", "RunReport"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = door(__name__)
