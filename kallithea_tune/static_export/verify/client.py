"""An HTTP client to verify a web server with: keep-alive, literal paths, cookies."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Iterable, Mapping, Optional
from urllib.parse import urlsplit

from kallithea_tune.errors import ConfigError
from kallithea_tune.system import interruption
from kallithea_tune.system.web import connection_to, host_of

TIMEOUT = 60.0  # seconds for one response; the application may be busy with a clone


@dataclass(frozen=True)
class Answer:
    """A response, header names in lower case.

    The values of a header that came more than once are joined by commas (RFC 9110, section 5.3).
    The status is 0 where there was no response.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")

    @property
    def outcome(self) -> str:
        """How it is reported: ``answered with 404``."""
        return f"answered with {self.status}" if self.status else "left without a response"


def joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return header lines by name in lower case, the values of the same name in one."""
    by_name: dict[str, str] = {}
    for name, value in pairs:
        key = name.lower()
        by_name[key] = f"{by_name[key]}, {value}" if key in by_name else value
    return by_name


def unreachable(name: str, error: OSError) -> ConfigError:
    """Return the sentence about an `error` of the connection to the server `name`."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConfigError(
            f"the certificate of {name} is not trusted ({error.verify_message}); "
            "if its authority is your own, set the environment variable SSL_CERT_FILE to "
            "the file with the authority's certificate"
        )
    if isinstance(error, socket.timeout):
        return ConfigError(f"{name} did not answer within {TIMEOUT:.0f} s")
    return ConfigError(f"{name} cannot be reached: {error.strerror or error}")


class Client:
    """A keep-alive connection to one server, reopened when the server closes it."""

    def __init__(self, url: str) -> None:
        try:
            # It reconnects by itself when it is closed.
            self._connection = connection_to(url, TIMEOUT)
        except ValueError:
            raise ConfigError(
                f"--verify {url} is not the URL of a web server; give http://host/prefix"
            ) from None
        self.url = url
        self.prefix = urlsplit(url).path.rstrip("/")
        self.host = host_of(url)
        self._name = self.host
        self._cookies: dict[str, str] = {}

    def get(self, path: str, coding: str = "identity", **headers: str) -> Answer:
        """Send a GET for the prefix plus `path`. Raises ConfigError without a response."""
        return self.request("GET", path, None, {"Accept-Encoding": coding, **headers})

    def request(
        self, method: str, path: str, body: Optional[bytes], headers: Mapping[str, str]
    ) -> Answer:
        """Send a request for the prefix plus `path`. Raises ConfigError as `get` does."""
        for attempt in (1, 2):
            try:
                with interruption.waking(self._break_off):
                    return self._send(method, path, body, headers)
            except (http.client.HTTPException, ConnectionError) as error:
                self.close()
                if isinstance(error, ConnectionRefusedError):
                    raise unreachable(self._name, error) from None
                if attempt == 2:
                    raise ConfigError(
                        f"{self._name} does not answer: {type(error).__name__}"
                    ) from None
            except OSError as error:
                self.close()
                raise unreachable(self._name, error) from None
        raise AssertionError

    def _send(
        self, method: str, path: str, body: Optional[bytes], headers: Mapping[str, str]
    ) -> Answer:
        connection = self._connection
        connection.putrequest(method, self.prefix + path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        if self._cookies:
            pairs = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
            connection.putheader("Cookie", pairs)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        broken: Optional[OSError] = None
        try:
            connection.endheaders(body)
        except (BrokenPipeError, ConnectionResetError) as error:
            # A server that refuses a body need not read it; its response can be read all the same.
            broken = error
        try:
            response = connection.getresponse()
            content = response.read()
        except socket.timeout:
            raise
        except (http.client.HTTPException, OSError):
            raise broken or ConnectionError() from None
        if broken:
            self.close()
        for header in response.headers.get_all("Set-Cookie", []):
            with contextlib.suppress(CookieError):
                cookies = SimpleCookie(header.strip())
                self._cookies.update({name: item.value for name, item in cookies.items()})
        return Answer(response.status, joined(response.getheaders()), content)

    def _break_off(self) -> None:
        """Have a request that is under way fail; for another thread."""
        if self._connection.sock:
            self._connection.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
