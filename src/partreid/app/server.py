"""Listening for the page's requests."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from partreid.app.rates import RateLimit
from partreid.app.service import PageService
from partreid.app.users import Users
from partreid.errors import ConfigError, needs_extra

_BACKLOG = 64
"""Connections that may wait to be accepted. They are fewer than the limit, so that each is served before it must make
room for others."""


class PageServer:
    """The page at an address of this machine. It listens at once, and answers after :meth:`run` is called.

    Args:
        service: answers the questions. host: address or name to listen at. port: 0 = any free port.
        names: further names that the page answers to, such as a proxy's.
        users: allowed users; None = anybody may search. rate: limit of requests.
        proxies: addresses whose statements about the caller and the scheme are believed (X-Forwarded-For,
            X-Forwarded-Proto).

    Raises:
        ConfigError: it cannot listen there.
        MissingDependencyError: the extra ``app`` is not installed.
    """

    def __init__(
        self,
        service: PageService,
        host: str,
        port: int,
        *,
        names: Sequence[str] = (),
        users: Users | None = None,
        rate: RateLimit | None = None,
        proxies: Sequence[str] = (),
    ) -> None:
        with needs_extra("app", "The web page"):
            import uvicorn

            from partreid.app.connections import connection_class
            from partreid.app.guard import Hosts, is_local
            from partreid.app.http import create_app
        self.local = is_local(host)
        self._socket = _listen(host, port)
        self.port = int(self._socket.getsockname()[1])
        shown = host if host not in ("0.0.0.0", "::") else socket.gethostname()
        self.address = f"http://{f'[{shown}]' if ':' in shown else shown}:{self.port}/"
        if shown != host:  # the printed name must work
            names = [*names, shown]
        config = uvicorn.Config(
            create_app(service, Hosts.bound_to(host, names), users=users, rate=rate),
            http=connection_class(service.limits),
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=list(proxies),
            lifespan="off",
            ws="none",
            backlog=_BACKLOG,
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)

    def run(self) -> None:
        """Answer until Ctrl-C, or until :meth:`stop` is called from another thread."""
        try:
            self._server.run(sockets=[self._socket])
        except KeyboardInterrupt:
            pass
        finally:
            self._socket.close()

    def stop(self) -> None:
        """Let :meth:`run` return."""
        self._server.should_exit = True


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(
            f"Cannot listen at {host}, port {port}: {reason}. Choose another with --port (0 = any free one) or --host."
        ) from None
