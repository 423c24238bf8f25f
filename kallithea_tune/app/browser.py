"""Sends requests to a WSGI application in this process: keeps the session's cookie, and signs in
where asked to.
"""

from __future__ import annotations

import io
import re
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, Optional, Sequence
from urllib.parse import unquote_to_bytes

from kallithea_tune.config.instance import Instance

# Where the body of a request stays in reach, whatever filters put in the place of "wsgi.input".
SENT = "kallithea_tune.sent"


@dataclass(frozen=True)
class Reply:
    """What a request got: headers in lower case, and the milliseconds until its last byte.

    Where the application raised an exception, the status is 500, and `failed` its name and first
    line; where it answered with 500 or more itself, the last line that it wrote to the server's
    log.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    ms: float = 0.0
    failed: str = ""


class Browser:
    """One visitor of the application; `signed_in` says that a page wanted a login and is read as
    the first admin.
    """

    def __init__(self, app: Callable[..., Any], instance: Instance) -> None:
        self._app, self._instance = app, instance
        self._kept: dict[str, str] = {}
        self.signed_in = False

    @property
    def prefix(self) -> str:
        """The path below which the application believes to be."""
        return self._instance.prefix

    def get(self, path: str, headers: Mapping[str, str]) -> Reply:
        """Ask for a page; where it sends to the login, sign in and ask once more."""
        reply = self.send(path, headers)
        if (
            reply.status == 302
            and "/login" in reply.headers.get("location", "")
            and not self.signed_in
        ):
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
        """Send one request, a POST where there is a `body`; `arrived` is called when the answer's
        first byte comes.
        """

        def start_response(
            status: str, headers: Sequence[tuple[str, str]], exc_info: Any = None
        ) -> Any:
            got.update(status=status, headers=headers)
            return take

        def take(chunk: bytes) -> None:
            if chunk:
                if not taken:
                    arrived()
                taken.append(chunk)

        got: dict[str, Any] = {}
        failed = ""
        taken: list[bytes] = []
        environ = self._environ(path, headers, body)
        began = time.perf_counter()
        try:
            chunks = self._app(environ, start_response)
            for chunk in chunks:
                take(chunk)
            getattr(chunks, "close", lambda: None)()
        except Exception as error:
            got = {"status": "500", "headers": []}
            failed = (type(error).__name__ + ": " + str(error)).strip().splitlines()[0]
        ms = (time.perf_counter() - began) * 1000
        status = int(got["status"][:3])
        if status >= 500 and not failed:
            # TurboGears writes the traceback there; the module of the exception says nothing to an
            # admin.
            last = (environ["wsgi.errors"].getvalue().strip().splitlines() or [""])[-1]
            failed = re.sub(r"^(\w+\.)+(?=\w+(:|$))", "", last)
        named = {name.lower(): value for name, value in got["headers"]}
        if "set-cookie" in named:
            self._kept["HTTP_COOKIE"] = named.pop("set-cookie").split(";")[0]
        return Reply(status, named, b"".join(taken), ms, failed)

    def _environ(
        self, whole: str, headers: Mapping[str, str], body: Optional[bytes]
    ) -> dict[str, Any]:
        path, _, query = whole.partition("?")
        sent = io.BytesIO(body or b"")
        named = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers.items()}
        if body is not None:
            named["CONTENT_TYPE"] = named.pop("HTTP_CONTENT_TYPE", "application/octet-stream")
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
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": False,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            **self._kept,
            **named,
        }

    def _admin_key(self) -> str:
        """Return the API key of the first active admin; it never leaves this process."""
        import sqlalchemy

        statement = sqlalchemy.text(
            "SELECT api_key FROM users WHERE active = :yes AND admin = :yes ORDER BY user_id LIMIT 1"
        )
        with self._instance.engine().connect() as connection:
            row = connection.execute(statement, {"yes": True}).fetchone()
        return str(row[0]) if row else ""
