"""Finds what a browser fetches for a page from the same server, and requests it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import AbstractSet, Optional
from urllib.parse import urljoin

from kallithea_tune.app.browser import Browser

# The kinds of <link> that every browser follows for every page, and those that some devices follow.
ALWAYS_FETCHED = frozenset({"stylesheet", "icon"})
EVER_FETCHED = ALWAYS_FETCHED | {"apple-touch-icon", "mask-icon", "manifest"}
_URL_ATTRIBUTE = {"link": "href", "script": "src", "img": "src"}


class _Assets(HTMLParser):
    """Collects the URLs of scripts, images, and links of the kinds in `link_types`."""

    def __init__(self, link_types: AbstractSet[str]) -> None:
        super().__init__()
        self.urls: list[str] = []
        self._link_types = link_types

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Optional[str]]]) -> None:
        attributes = dict(attrs)
        url = attributes.get(_URL_ATTRIBUTE.get(tag, ""))
        link_types = set((attributes.get("rel") or "").lower().split())
        if url and (tag != "link" or self._link_types & link_types):
            self.urls.append(url)


def asset_urls(page: str, link_types: AbstractSet[str] = ALWAYS_FETCHED) -> list[str]:
    """Return the URLs that the HTML `page` makes a browser fetch, as they are written there."""
    parser = _Assets(link_types)
    parser.feed(page)
    return parser.urls


def files_of(page: str, path: str) -> list[str]:
    """Return the paths on the same server, without queries, that the page at `path` needs."""
    server = "http://localhost"
    urls = (urljoin(server + path, url) for url in asset_urls(page))
    paths = (url[len(server) :].partition("?")[0] for url in urls if url.startswith(server + "/"))
    return list(dict.fromkeys(paths))


@dataclass(frozen=True)
class Asset:
    """The response for one file of a page, and the milliseconds it took.

    `exists` is whether the file is where TurboGears2 looks for static files when serving them is
    not switched off, None where that directory is unknown.
    """

    status: int
    ms: float
    exists: Optional[bool]


def ask(browser: Browser, path: str) -> dict[str, Asset]:
    """Request the page at `path`, then its files; return those by path. A `walk` of `app.visit`."""
    page = browser.get(path, {})
    if page.status != 200:
        return {}
    root = _static_root()
    assets = {}
    for name in files_of(page.body.decode("utf-8", "replace"), path):
        reply = browser.send(name, {})
        inside = name[len(browser.prefix) :] if name.startswith(browser.prefix + "/") else name
        exists = os.path.isfile(root + inside) if root else None
        assets[name] = Asset(reply.status, reply.ms, exists)
    return assets


def _static_root() -> str:
    """Return the static files' directory of this process's TurboGears2 application, or nothing."""
    tg = sys.modules.get("tg")
    paths = tg.config.get("paths") if tg else None
    return str((paths or {}).get("static_files") or "")
