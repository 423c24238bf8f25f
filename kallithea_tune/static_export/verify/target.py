"""What the probes of a verification share: how to reach the server, and what the instance has."""

from __future__ import annotations

import base64
import functools
import secrets
from dataclasses import dataclass, field
from typing import Mapping, Optional, Sequence

from kallithea_tune.app.hg_heads import Heads
from kallithea_tune.static_export.verify.client import Client
from kallithea_tune.static_export.verify.wire import Headers, Wire


@dataclass(frozen=True)
class Target:
    """The server to verify.

    `directories` are the exported ones. `heads` are those of the instance's Mercurial repositories,
    None where its database cannot be read; `repositories` has a repository by kind, ``hg`` and
    ``git``. `credentials` are ``user:password`` or empty.
    """

    url: str
    directories: Sequence[str] = ()
    heads: Optional[Heads] = None
    repositories: Mapping[str, str] = field(default_factory=dict)
    credentials: str = ""

    @functools.cached_property
    def client(self) -> Client:
        """A browser's connection."""
        return Client(self.url)

    @functools.cached_property
    def wire(self) -> Wire:
        """For requests byte for byte."""
        return Wire(self.url)

    @functools.cached_property
    def nowhere(self) -> str:
        """The path of a repository that does not exist: what is sent there changes nothing."""
        return "/kallithea-tune-" + secrets.token_hex(8)

    @property
    def host(self) -> Headers:
        """The Host header."""
        return [("Host", self.wire.host)]

    @property
    def login(self) -> Headers:
        """The header by which hg and git log in, where there are credentials."""
        if not self.credentials:
            return []
        encoded = base64.b64encode(self.credentials.encode()).decode()
        return [("Authorization", f"Basic {encoded}")]
