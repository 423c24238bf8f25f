"""Sends requests to a WSGI application in this process, with the session's cookie, logged in."""

from __future__ import annotations

import io
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable, Dict, Mapping, Optional, Sequence
from urllib.parse import unquote_to_bytes

from kallithea_tune.config.instance import Instance
from kallithea_tune.db.engine import read_only_engine
from kallithea_tune.text import shortened

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import WSGIApplication

# The key of the request's body in the WSGI environment, whatever filters make of "wsgi.input".
SENT = "kallithea_tune.sent"
Environ = Dict[str, object]


@dataclass(frozen=True)
class Reply:
    """The response to a request: headers in lower case, and the milliseconds to its last byte.

    Where the application raised an exception, the status is 500, and `failed` the exception's name
    and first line; where it responded with 500 or more itself, the last line that it wrote to the
    server's log.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    ms: float = 0.0
    failed: str = ""


class _Response:
    """What an application passes to ``start_response`` and yields."""

    def __init__(self, arrived: Callable[[], None]) -> None:
        self.status = 500
        self.headers: Sequence[tuple[str, str]] = ()
        self.chunks: list[bytes] = []
        self._arrived = arrived

    def start(
        self,
        status: str,
        headers: Sequence[tuple[str, str]],
        exc_info: Optional[OptExcInfo] = None,
    ) -> Callable[[bytes], object]:
        self.status, self.headers = int(status[:3]), headers
        return self.add

    def add(self, chunk: bytes) -> None:
        if chunk:
            if not self.chunks:
                self._arrived()
            self.chunks.append(chunk)


class Browser:
    """One visitor; `signed_in` once a page required a login and is read as the first admin."""

    def __init__(self, app: WSGIApplication, instance: Instance) -> None:
        self._app, self._instance = app, instance
        self._kept: dict[str, str] = {}
        self.signed_in = False

    @property
    def prefix(self) -> str:
        """The URL path below which the application is configured to be."""
        return self._instance.prefix

    def stranger(self) -> Browser:
        """Return another visitor of the same application, who is not signed in."""
        return Browser(self._app, self._instance)

    def get(self, path: str, headers: Mapping[str, str]) -> Reply:
        """Request a page; where it redirects to the login, log in and request it once more."""
        reply = self.send(path, headers)
        to_login = reply.status == 302 and "/login" in reply.headers.get("location", "")
        if to_login and not self.signed_in:
            key = self._admin_key()
            if key:
                self.signed_in = True
                self._kept["HTTP_AUTHORIZATION"] = "Bearer " + key
                self.send(path, headers)
                reply = self.send(path, headers)
        return reply

    def send(
        self,
        path: str,
        headers: Mapping[str, str],
        body: Optional[bytes] = None,
        arrived: Callable[[], None] = lambda: None,
    ) -> Reply:
        """Send one request, a POST with a `body`; `arrived` is called at the first byte back."""
        response = _Response(arrived)
        log = io.StringIO()
        environ = self._environ(path, headers, body, log)
        failed = ""
        began = time.perf_counter()
        try:
            chunks = self._app(environ, response.start)
            for chunk in chunks:
                response.add(chunk)
            getattr(chunks, "close", lambda: None)()
        except Exception as error:
            response.status, response.headers = 500, ()
            failed = shortened(f"{type(error).__name__}: {error}".strip().splitlines()[0])
        ms = (time.perf_counter() - began) * 1000
        if response.status >= 500 and not failed:
            failed = _last_error(log.getvalue())
        by_name = {name.lower(): value for name, value in response.headers}
        if "set-cookie" in by_name:
            self._kept["HTTP_COOKIE"] = by_name.pop("set-cookie").split(";")[0]
        return Reply(response.status, by_name, b"".join(response.chunks), ms, failed)

    def _environ(
        self, url: str, headers: Mapping[str, str], body: Optional[bytes], log: io.StringIO
    ) -> Environ:
        path, _, query = url.partition("?")
        sent = io.BytesIO(body or b"")
        by_key = {
            f"HTTP_{name.upper()}".replace("-", "_"): value for name, value in headers.items()
        }
        if body is not None:
            by_key["CONTENT_TYPE"] = by_key.pop("HTTP_CONTENT_TYPE", "application/octet-stream")
        return {
            "REQUEST_METHOD": "GET" if body is None else "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": "localhost",
            "HTTP_ACCEPT": "text/html",
            "HTTP_USER_AGENT": "kallithea-tune",
            "CONTENT_LENGTH": str(len(body or b"")),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": sent,
            SENT: sent,
            "wsgi.errors": log,
            "wsgi.multithread": False,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            **self._kept,
            **by_key,
        }

    def _admin_key(self) -> str:
        """Return the API key of the first active admin; it never leaves this process."""
        import sqlalchemy

        statement = sqlalchemy.text(
            "SELECT api_key FROM users WHERE active = :yes AND admin = :yes "
            "ORDER BY user_id LIMIT 1"
        )
        with read_only_engine(self._instance.database_url).connect() as connection:
            row = connection.execute(statement, {"yes": True}).fetchone()
        return str(row[0]) if row else ""


def _last_error(log: str) -> str:
    # TurboGears writes the traceback there; the module of the exception means nothing to an admin.
    last = (log.strip().splitlines() or [""])[-1]
    return shortened(re.sub(r"^(\w+\.)+(?=\w+(:|$))", "", last))
