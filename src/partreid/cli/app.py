"""``partreid app``: the page to look for people in a gallery."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

import partreid
from partreid.cli import options as opt
from partreid.cli.console import console, errors, say_warning
from partreid.errors import DataError

if TYPE_CHECKING:
    from partreid import Gallery, MatchCalibration, PartExtractor

_UNUSED = (
    "No probabilities are told: the calibration beside the model is damaged, or belongs to another model or way of "
    "embedding. The terminal that the page runs in says more."
)


def app(
    gallery: opt.GalleryOption,
    model: opt.ModelOption,
    host: Annotated[
        str, typer.Option(help="Address to listen at. Any but 127.0.0.1 lets other machines in, without a password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 = any free one.")] = 8000,
    calibration: opt.Calibration = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="Another name to be asked by, e.g. a proxy's. Repeatable."),
    ] = None,
    mirror: opt.Mirror = False,
    device: opt.Device = "auto",
    precision: opt.PrecisionOption = "auto",
) -> None:
    """Open a web page to look for people in a gallery.

    Drop an image, draw a box if there is more to see, and get the nearest people with distance, probability, camera
    and time; choose which parts count, filter, and look at one result part by part. Nothing leaves this machine.
    """
    from partreid.app.server import PageServer
    from partreid.app.service import PageService
    from partreid.app.threads import jobs_at_work
    from partreid.retrieval.how_compared import find_calibration, load_for_comparison
    from partreid.retrieval.lookup import calibration_beside

    known = find_calibration(calibration, model)
    runtime = opt.runtime_config(device, precision)
    extractor, _ = load_for_comparison(model, runtime=runtime, mirror=mirror, calibration=known)
    with _open(gallery, extractor, known) as opened:
        problem = ""
        if known is None:
            known, problem = calibration_beside(model, opened)
        if problem:
            say_warning(problem)
        said = _UNUSED if problem else ""  # the page is no place for this machine's folders
        service = PageService(opened, extractor, calibration=known, calibration_problem=said)
        server = PageServer(service, host, port, names=allow_host or ())
        if not server.local:
            say_warning(
                f"{server.address} is open to every machine that reaches it, without a password. Put a proxy with one "
                "before it: docs/app.md."
            )
        console.print(f"Open {server.address} in a browser. Ctrl-C ends it.", soft_wrap=True)
        server.run()
        if jobs_at_work():
            _leave()


def _open(location: str, extractor: PartExtractor, calibration: MatchCalibration | None) -> Gallery:
    """The gallery; where the calibration asks for another way of embedding than the gallery's, that is said."""
    try:
        return partreid.Gallery.open(location, extractor=extractor, create=False)
    except DataError:
        ways = [] if calibration is None else [*calibration.overrides, *(["mirror"] if calibration.mirror else [])]
        if not ways:
            raise
        with partreid.Gallery.open(location, extractor=None, create=False) as found:
            raise DataError(
                f"The calibration is for images embedded with {', '.join(ways)} ({extractor.fingerprint}), "
                f"the gallery was made otherwise ({found.model or 'unknown'}). Make a calibration for the "
                "gallery's way with `partreid calibrate`, or leave --calibration away."
            ) from None


def _leave() -> None:
    """End at once, though a thread is still at work: a disk that does not answer would hold the program for ever."""
    errors.print("Ended with work unfinished. Nothing is lost: the page writes nothing.")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
