"""Self-contained HTML pages about a run, its rankings and its labels."""

from typing import TYPE_CHECKING

from partreid.doors import door

if TYPE_CHECKING:
    from partreid.reports.about_model import AboutModel, DataTerms
    from partreid.reports.dossier import Dossier, Measured, gather_dossier
    from partreid.reports.drawings import Drawing, draw_attention_of, draw_rankings_of
    from partreid.reports.evaluate import Evaluation
    from partreid.reports.figures import QueryChoice
    from partreid.reports.image_groups import GroupTable
    from partreid.reports.label_report import LabelReport, review_labels
    from partreid.reports.pages import attention_page, rankings_page
    from partreid.reports.reassociation import ReassociationEvaluation, evaluate_reassociation
    from partreid.reports.run_report import QuerySetReport, RunReport

__all__ = [
    "AboutModel", "DataTerms", "Dossier", "Drawing", "Evaluation", "GroupTable", "LabelReport", "Measured",
    "QueryChoice", "QuerySetReport", "ReassociationEvaluation", "RunReport", "attention_page", "draw_attention_of",
    "draw_rankings_of", "evaluate_reassociation", "gather_dossier", "rankings_page", "review_labels",
]  # fmt: skip

if not TYPE_CHECKING:
    __getattr__, __dir__ = door(__name__)
