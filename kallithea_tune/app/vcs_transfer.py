"""Asks the application for a clone as the real clients do, and watches what its filters make of the
answer.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from typing import Any, Callable, Iterator, Mapping

from kallithea_tune.app.browser import SENT, Browser, Reply
from kallithea_tune.errors import NotMeasured

LIMIT, BLOCK = 1 << 20, 1 << 15
# What Mercurial 6.3 and Git 2.39 send; seen with a proxy that logs.
_HG = {
    "Accept": "application/mercurial-0.1",
    "Accept-Encoding": "identity",
    "User-Agent": "mercurial/proto-1.0 (Mercurial 6.3.2)",
    "Vary": "X-HgArg-1,X-HgProto-1",
    "X-HgProto-1": "0.1 0.2 comp=zstd,zlib,none,bzip2 partial-pull",
}
_GIT = {"Accept-Encoding": "deflate, gzip, br, zstd", "User-Agent": "git/2.39.5"}
_GIT_CAPABILITIES = (
    "multi_ack_detailed no-done side-band-64k thin-pack no-progress ofs-delta agent=git/2.39.5"
)


@dataclass
class Tap:
    """Sits where the application makes the bytes of a clone, and counts them, about `LIMIT` in each
    answer.

    A longer answer is cut, a shorter one filled up with random bytes, so that what holds answers
    back has something to hold. `read` is how much of the request's body had been read before the
    application got it, `held` how many bytes had been made when the first came out of all filters,
    `whole` whether that was all.
    """

    size: int = 0
    ended: bool = False
    read: int = 0
    encoding: str = ""
    held: int = 0
    whole: bool = False

    def around(self, app: Callable[..., Any]) -> Callable[..., Any]:
        """Return the WSGI application `app` with the tap on it."""

        def tapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
            def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
                named = {name.lower(): value for name, value in headers}
                self.encoding = named.get("content-encoding", "")
                # The length is another one now.
                kept = [
                    (name, value) for name, value in headers if name.lower() != "content-length"
                ]
                return start_response(status, kept, exc_info)

            self.size, self.ended, self.read = 0, False, environ[SENT].tell()
            return self._through(app(environ, start))

        return tapped

    def _through(self, answer: Any) -> Iterator[bytes]:
        try:
            for chunk in answer:
                for start in range(0, len(chunk), BLOCK):
                    self.size += len(chunk[start : start + BLOCK])
                    yield chunk[start : start + BLOCK]
                    if self.size >= LIMIT:
                        break
                if self.size >= LIMIT:
                    break
            while self.size < LIMIT:
                block = os.urandom(min(BLOCK, LIMIT - self.size))
                self.size += len(block)
                yield block
            self.ended = True
        finally:
            getattr(answer, "close", lambda: None)()

    def arrived(self) -> None:
        """Note what had been made when the first byte came out."""
        self.held, self.whole = self.size, self.ended


def ask(browser: Browser, path: str, kind: str) -> Mapping[str, Any]:
    """Ask for what is new since the newest revision, nothing that is, as a pull does; a `walk` of
    `probes.wsgi`.

    Real clones go the same way through application and filters; this one costs the same for every
    repository. Returns the ``status``, the encoding that the application itself chose (``made``)
    and the one that came out (``came``), and ``held``, ``whole`` and ``read`` as in `Tap`. Raises
    NotMeasured for an application that is not Kallithea.
    """
    tap = Tap()
    _open(tap)
    reply = (_ask_hg if kind == "hg" else _ask_git)(browser, path, tap)
    return {
        "status": reply.status,
        "made": tap.encoding,
        "came": reply.headers.get("content-encoding", ""),
        "held": tap.held,
        "whole": tap.whole,
        "read": tap.read,
        "size": tap.size,
    }


def _ask_hg(browser: Browser, path: str, tap: Tap) -> Reply:
    heads = browser.send(path + "?cmd=heads", _HG)
    found = re.match(rb"[0-9a-f]{40}", heads.body)
    if heads.status != 200 or not found:
        return heads
    newest = found.group().decode("ascii")
    return browser.send(
        path + "?cmd=getbundle",
        {**_HG, "X-HgArg-1": f"common={newest}&heads={newest}"},
        arrived=tap.arrived,
    )


def _ask_git(browser: Browser, path: str, tap: Tap) -> Reply:
    refs = browser.send(
        path + "/info/refs?service=git-upload-pack", {**_GIT, "Accept-Encoding": "identity"}
    )
    found = re.search(rb"[0-9a-f]{4}([0-9a-f]{40}) (HEAD|refs/)", refs.body)
    if refs.status != 200 or not found:
        return refs
    newest = found.group(1).decode("ascii")
    want = f"want {newest} {_GIT_CAPABILITIES}\n"
    body = f"{len(want) + 4:04x}{want}0000{50:04x}have {newest}\n0009done\n"
    return browser.send(
        path + "/git-upload-pack",
        {
            **_GIT,
            "Accept": "application/x-git-upload-pack-result",
            "Content-Type": "application/x-git-upload-pack-request",
        },
        body.encode("ascii"),
        tap.arrived,
    )


def _open(tap: Tap) -> None:
    """Put the tap where Kallithea makes the bytes of clones; let this process clone whatever it
    wants.
    """
    base, hook, db = map(
        sys.modules.get, ("kallithea.controllers.base", "mercurial.hook", "kallithea.model.db")
    )
    if not (base and hook and db):
        raise NotMeasured("no clone can be asked of an application that is not Kallithea")
    # The admin's own hooks must not take this for a clone.
    hook.hook = lambda *words, **named: False  # type: ignore[attr-defined]
    controller, users = base.BaseVCSController, db.User
    controller._authorize = lambda self, environ, action, *words: (users.get_default_user(), None)
    for kind in controller.__subclasses__():
        original = kind.__dict__["_make_app"]
        original = getattr(original, "inner", original)

        def make(
            self: Any, request: Any, original: Callable[..., Any] = original
        ) -> Callable[..., Any]:
            return tap.around(original(self, request))

        make.inner = original  # type: ignore[attr-defined]
        kind._make_app = make
