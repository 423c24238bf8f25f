"""Finds what a page has a browser fetch from the same server, and asks the application for it."""

from __future__ import annotations

import os
import sys
from html.parser import HTMLParser
from typing import Any, Optional
from urllib.parse import urljoin

from kallithea_tune.app.browser import Browser

# What a browser fetches for every page, with the attribute that says where it is.
_ATTRIBUTE = {"link": "href", "script": "src", "img": "src"}
_FETCHED = frozenset({"stylesheet", "icon"})


class _Files(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Optional[str]]]) -> None:
        given = dict(attrs)
        where = given.get(_ATTRIBUTE.get(tag, ""))
        if where and (tag != "link" or _FETCHED & set((given.get("rel") or "").lower().split())):
            self.found.append(where)


def files_of(page: str, path: str) -> list[str]:
    """Return the paths, without queries, that the HTML `page` at `path` has fetched from its own
    server.
    """
    parser = _Files()
    parser.feed(page)
    whole = (urljoin("http://localhost" + path, where) for where in parser.found)
    return list(
        dict.fromkeys(
            url[len("http://localhost") :].partition("?")[0]
            for url in whole
            if url.startswith("http://localhost/")
        )
    )


def ask(browser: Browser, path: str) -> dict[str, Any]:
    """Ask for the page and then for its files; a `walk` of `probes.wsgi`.

    Returns status and milliseconds of each file by its path. ``exists`` is whether it is where
    TurboGears2 looks for static files when serving them is not switched off, None where that cannot
    be told.
    """
    page = browser.get(path, {})
    if page.status != 200:
        return {}
    root = _root()
    files = {}
    for name in files_of(page.body.decode("utf-8", "replace"), path):
        got = browser.send(name, {})
        inside = name[len(browser.prefix) :] if name.startswith(browser.prefix + "/") else name
        files[name] = {
            "status": got.status,
            "ms": got.ms,
            "exists": os.path.isfile(root + inside) if root else None,
        }
    return files


def _root() -> str:
    """Return the directory of static files that the TurboGears2 application of this process knows,
    or nothing.
    """
    tg = sys.modules.get("tg")
    paths = tg.config.get("paths") if tg else None
    return str((paths or {}).get("static_files") or "")
