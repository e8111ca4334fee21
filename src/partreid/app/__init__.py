"""The web page: a service without HTTP, and a thin HTTP layer."""

from typing import TYPE_CHECKING

from partreid.doors import door

if TYPE_CHECKING:
    from partreid.app.http import create_app
    from partreid.app.messages import Question, Sighting
    from partreid.app.server import PageServer
    from partreid.app.service import PageService

__all__ = ["PageServer", "PageService", "Question", "Sighting", "create_app"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = door(__name__)
