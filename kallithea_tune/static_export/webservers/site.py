"""The description of a site, from which every template is filled in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence

from kallithea_tune.static_export.webservers import names

# Responds without a session, of which a health check would otherwise make a new one each time.
HEALTH = "/_admin/api"

# By these a proxy reports the client's address, host and scheme, so no client may send them.
FORWARDING_HEADERS = (
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Proto",
    "X-Forwarded-Protocol",
    "X-Forwarded-Scheme",
    "X-Forwarded-Server",
    "X-Forwarded-Ssl",
    # Whom Kallithea takes a request to come from, where its auth_container is enabled.
    "X-Forwarded-User",
    "X-Forwarded-By",
    "X-Real-IP",
    "X-Url-Scheme",
    "X-Scheme",
    "X-Script-Name",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "True-Client-IP",
    "Client-IP",
    "Front-End-Https",
    "Proxy",
)


@dataclass(frozen=True)
class Backend:
    """Where the application listens."""

    host: str
    port: int
    scheme: str = "http"

    @classmethod
    def from_url(cls, url: str, option: str = "--backend") -> Backend:
        """Read ``http://127.0.0.1:5000``. Raises ConfigError with `option` for any other form."""
        scheme, host, port = names.backend(url, option)
        return cls(host, port, scheme)

    @property
    def address(self) -> str:
        """``host:port``, an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """``http://host:port``."""
        return f"{self.scheme}://{self.address}"


@dataclass(frozen=True)
class Tls:
    """How a site speaks TLS: files with the certificate (and its chain) and with the private key,
    both empty where the server gets and renews its own.

    `redirect_port` is where plain http is redirected from; `hsts` is in seconds, 0 for no such
    header.
    """

    certificate: str = ""
    key: str = ""
    redirect_port: int = 80
    hsts: int = 0

    @property
    def automatic(self) -> bool:
        """Whether the server gets its own certificate."""
        return not self.certificate


@dataclass(frozen=True)
class Site:
    """What a template needs to know.

    `root` is the published directory, `directories` and `files` its entries; `codings` are those
    with variants on disk; `prefix` is the path in front of all URLs, empty for none. `vcs` is a
    pool for hg and git where they have their own. `tls` is None for a site of plain http.
    """

    root: str
    directories: Sequence[str]
    files: Sequence[str]
    codings: Sequence[str]
    backends: Sequence[Backend]
    vcs: Sequence[Backend] = ()
    prefix: str = ""
    name: str = "kallithea.example.com"
    port: int = 80
    sticky: bool = False
    scheme_header: str = "X-Forwarded-Proto"
    address_header: str = "X-Forwarded-For"
    script: str = ""
    tls: Optional[Tls] = None
