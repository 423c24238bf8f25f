"""Sends the application what a client claims about host and scheme, and sees whether it believes
that.
"""

from __future__ import annotations

from typing import Mapping

from kallithea_tune.app.browser import Browser

# A page that redirects to the login, by a URL with scheme and host.
PAGE = "/_admin/my_account"
# The headers from which filters around an application take either of them. A web server overwrites
# X-Forwarded-Proto, of which even Kallithea 0.6 makes a scheme.
CLAIMS: Mapping[str, str] = {
    "X-Forwarded-Host": "claimed.example",
    "X-Forwarded-Server": "claimed.example",
    "X-Forwarded-Scheme": "claimed",
}


def believed(browser: Browser, path: str) -> tuple[str, ...]:
    """Return the headers of `CLAIMS` whose value comes back in a redirect of the page at `path`."""
    stranger = browser.stranger()
    return tuple(
        name
        for name, claim in CLAIMS.items()
        if claim in stranger.send(path, {name: claim}).headers.get("location", "")
    )
