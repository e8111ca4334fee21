"""``partreid show``: figures of what a model finds, where it looks, and a report of a run."""

from __future__ import annotations

import typer

from partreid.cli.show_attention import attention
from partreid.cli.show_rankings import rankings
from partreid.cli.show_report import report

app = typer.Typer()
app.command()(rankings)
app.command()(attention)
app.command()(report)
