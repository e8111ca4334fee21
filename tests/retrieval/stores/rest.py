"""What a Qdrant server says over HTTP, as far as the store asks, answered by the client's local mode.

It shows that requests and answers survive the way through JSON; it is no server, and knows nothing of one's limits.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from qdrant_client import QdrantClient, models


class RestServer:
    """Listens on a port of this machine within a ``with`` block; ``seen`` holds (method, path, query, headers)."""

    def __init__(self) -> None:
        self.client = QdrantClient(":memory:")
        self.seen: list[tuple[str, str, dict[str, list[str]], dict[str, str]]] = []
        lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def answer(self) -> None:
                url = urlsplit(self.path)
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "null")
                with lock:
                    outer.seen.append((self.command, url.path, parse_qs(url.query), dict(self.headers)))
                    try:
                        status, result = 200, outer.answer(self.command, unquote(url.path), body)
                    except ValueError as error:
                        status, result = 409, str(error)
                answer = json.dumps({"result": result, "status": "ok", "time": 0.0}).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_PUT = do_POST = do_PATCH = answer  # noqa: N815

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.client.close()

    def answer(self, method: str, path: str, body: Any) -> Any:
        """The result of one request."""
        _, _, name, *rest = path.split("/")
        call = (method, "/".join(rest))
        if call == ("GET", "exists"):
            return {"exists": self.client.collection_exists(name)}
        if call == ("GET", ""):
            return _json(self.client.get_collection(name))
        if call == ("PUT", ""):
            about = models.CreateCollection.model_validate(body)
            return self.client.create_collection(name, vectors_config=about.vectors, metadata=about.metadata)
        if call == ("PATCH", ""):
            return self.client.update_collection(name, metadata=models.UpdateCollection.model_validate(body).metadata)
        if call == ("PUT", "index"):
            return {"operation_id": 0, "status": "completed"}
        if call == ("PUT", "points"):
            new = models.PointsList.model_validate(body)
            return _json(self.client.upsert(name, new.points, update_mode=new.update_mode))
        if call == ("POST", "points/delete"):
            return _json(self.client.delete(name, models.FilterSelector.model_validate(body)))
        if call == ("POST", "points/count"):
            return _json(self.client.count(name, models.CountRequest.model_validate(body).filter))
        if call == ("POST", "points"):
            one = models.PointRequest.model_validate(body)
            return _json(self.client.retrieve(name, one.ids, one.with_payload, one.with_vector))
        if call == ("POST", "points/scroll"):
            page = models.ScrollRequest.model_validate(body)
            points, after = self.client.scroll(
                name, page.filter, page.limit, None, page.offset, page.with_payload, page.with_vector
            )
            return {"points": _json(points), "next_page_offset": after}
        if call == ("POST", "points/query/batch"):
            return _json(self.client.query_batch_points(name, models.QueryRequestBatch.model_validate(body).searches))
        raise ValueError(f"not known: {method} {path}")


def _json(result: Any) -> Any:
    return [_json(one) for one in result] if isinstance(result, list) else result.model_dump(mode="json")
