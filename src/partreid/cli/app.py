"""``partreid app``: the page to search for people in a gallery."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from partreid.cli import options as opt
from partreid.cli.console import console, errors, say_warning
from partreid.cli.models import chosen
from partreid.cli.open_set import RuleFile, page_rule
from partreid.cli.searching import open_to_search
from partreid.errors import ConfigError, needs_extra


def app(
    gallery: opt.GalleryOption,
    model: opt.ModelOption = "",
    host: Annotated[
        str, typer.Option(help="Address to listen on. Any but 127.0.0.1 lets other machines in; then give --users.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 = any free one.")] = 8000,
    calibration: opt.Calibration = None,
    rule: RuleFile = None,
    adaptation: opt.Adaptation = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="Another host name of the page, e.g. a proxy's. Repeatable."),
    ] = None,
    users: Annotated[
        Path | None,
        typer.Option(
            help="File of the users (`partreid users add`). With it everybody needs a token, without it nobody does."
        ),
    ] = None,
    rate: Annotated[
        int,
        typer.Option(
            min=1, help="Requests per minute for each user. Without --users: for each address of another machine."
        ),
    ] = 1200,
    proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS", help="A proxy whose X-Forwarded-For and X-Forwarded-Proto are trusted. Repeatable."
        ),
    ] = None,
    edit: Annotated[
        bool | None,
        typer.Option(
            "--edit/--no-edit",
            help="Whether the page may merge and split persons. Default: yes with --users or on 127.0.0.1, else no.",
        ),
    ] = None,
    corrections: Annotated[
        Path | None,
        typer.Option(help="File of these merges and splits. Default: corrections.json in the gallery's folder."),
    ] = None,
    mirror: opt.Mirror = False,
    device: opt.Device = "auto",
    precision: opt.PrecisionOption = "auto",
) -> None:
    """Open a web page to search for people in a gallery.

    Drop an image, and draw a box if it shows more than the person. The page lists the nearest people with distance,
    probability, camera and time. You can choose the parts to compare, filter, and inspect a result part by part. After
    `partreid link` the page shows where each person was, and you can merge and split persons. Nothing leaves this
    machine.
    """
    with needs_extra("app", "The web page"):
        from partreid.app.guard import is_local
    from partreid.app.rates import RateLimit
    from partreid.app.server import PageServer
    from partreid.app.service import PageService
    from partreid.app.threads import jobs_at_work
    from partreid.app.users import Users

    known_users = None if users is None else Users(users)
    if known_users is not None and not known_users.listed():
        raise ConfigError(f"There is no user in {users}. Add one with: partreid users add {users} NAME")
    open_to_all = known_users is None and not is_local(host)

    runtime = opt.runtime_config(device, precision)
    chosen_name = chosen(model)
    opened, known, problem = open_to_search(
        gallery, chosen_name, calibration, runtime=runtime, mirror=mirror, adaptation=adaptation
    )
    with opened:
        named = None if known is None else page_rule(rule, chosen_name, known)
        assert opened.extractor is not None
        said = (  # the page is no place for this machine's folders
            "There are no probabilities, because the calibration beside the model is damaged, or belongs to another "
            "model or another way of embedding. See the terminal in which the page runs."
        )
        service = PageService(
            opened, opened.extractor, calibration=known, calibration_problem=said if problem else "",
            corrections=corrections, edits=not open_to_all if edit is None else edit, rule=named,
        )  # fmt: skip
        limit = RateLimit(rate) if known_users is not None or open_to_all else None
        server = PageServer(
            service, host, port, names=allow_host or (), users=known_users, rate=limit, proxies=proxy or ()
        )
        if open_to_all:
            say_warning(
                f"Everybody on a machine that can reach {server.address} may search, without a password. Give --users "
                "FILE (partreid users add), and put a proxy with TLS in front: docs/app.md."
            )
        elif not server.local:
            say_warning(
                f"Tokens and images go to {server.address} unencrypted. Put a proxy with TLS in front: docs/app.md."
            )
        console.print(f"Open {server.address} in a browser. Ctrl-C ends it.", soft_wrap=True)
        status = 0
        try:
            server.run()
        except SystemExit as stop:  # SIGTERM, of a service manager
            status = int(stop.code or 0)
        if jobs_at_work():
            # A thread is still at work: a disk that does not answer would hold the program for ever.
            errors.print("Stopped with unfinished work. No change is half-written: each one is complete or absent.")
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        if status:
            raise SystemExit(status)
