"""Clones from the application as real clients do, and watches what its filters do to the bytes."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Iterable, Iterator, Optional

from kallithea_tune.app.browser import SENT, Browser, Environ, Reply
from kallithea_tune.errors import NotMeasured

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIApplication

LIMIT, BLOCK = 1 << 20, 1 << 15
# What Mercurial 6.3 and Git 2.39 send; recorded by a logging proxy.
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
    """Sits where the application makes the bytes of a clone, and counts them.

    A response longer than `LIMIT` is cut and a shorter one padded with random bytes, so that a
    filter that buffers has something to buffer. `read_ahead` is how much of the request's body had
    been read before the application was called, `buffered` how many bytes had been made when the
    first came out of all filters, `complete` whether these were all.
    """

    size: int = 0
    ended: bool = False
    read_ahead: int = 0
    encoding: str = ""
    buffered: int = 0
    complete: bool = False

    def around(self, app: WSGIApplication) -> WSGIApplication:
        """Return the WSGI application `app` with the tap on it."""

        def tapped(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
            def start(
                status: str,
                headers: list[tuple[str, str]],
                exc_info: Optional[OptExcInfo] = None,
            ) -> Callable[[bytes], object]:
                by_name = {name.lower(): value for name, value in headers}
                self.encoding = by_name.get("content-encoding", "")
                # The length is not what it was.
                kept = [header for header in headers if header[0].lower() != "content-length"]
                return start_response(status, kept, exc_info)

            self.size, self.ended = 0, False
            self.read_ahead = getattr(environ[SENT], "tell")()  # noqa: B009
            return self._through(app(environ, start))

        return tapped

    def _through(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        try:
            for chunk in chunks:
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
            getattr(chunks, "close", lambda: None)()

    def arrived(self) -> None:
        """Record what had been made when the first byte came out."""
        self.buffered, self.complete = self.size, self.ended


@dataclass(frozen=True)
class Transfer:
    """What became of one clone.

    `own_encoding` is the content encoding that the application chose, `encoding` the one that came
    out of all filters; the other fields (bytes) are as in `Tap`.
    """

    status: int
    own_encoding: str
    encoding: str
    buffered: int
    complete: bool
    read_ahead: int
    size: int


def ask(browser: Browser, path: str, kind: str) -> Transfer:
    """Pull from the repository at `path`, by `kind` ``hg`` or ``git``. A `walk` of `app.visit`.

    It is a pull of what is newer than the newest revision, which is nothing: it takes the same way
    through application and filters as a clone, and costs the same for every repository. Raises
    NotMeasured for a Kallithea that keeps its code for clones elsewhere.
    """
    tap = Tap()
    _install(tap)
    reply = (_pull_hg if kind == "hg" else _pull_git)(browser, path, tap)
    return Transfer(
        status=reply.status,
        own_encoding=tap.encoding,
        encoding=reply.headers.get("content-encoding", ""),
        buffered=tap.buffered,
        complete=tap.complete,
        read_ahead=tap.read_ahead,
        size=tap.size,
    )


def _pull_hg(browser: Browser, path: str, tap: Tap) -> Reply:
    heads = browser.send(path + "?cmd=heads", _HG)
    match = re.match(rb"[0-9a-f]{40}", heads.body)
    if heads.status != 200 or not match:
        return heads
    newest = match.group().decode("ascii")
    headers = {**_HG, "X-HgArg-1": f"common={newest}&heads={newest}"}
    return browser.send(path + "?cmd=getbundle", headers, arrived=tap.arrived)


def _pull_git(browser: Browser, path: str, tap: Tap) -> Reply:
    refs = browser.send(
        path + "/info/refs?service=git-upload-pack", {**_GIT, "Accept-Encoding": "identity"}
    )
    match = re.search(rb"[0-9a-f]{4}([0-9a-f]{40}) (HEAD|refs/)", refs.body)
    if refs.status != 200 or not match:
        return refs
    newest = match.group(1).decode("ascii")
    want = f"want {newest} {_GIT_CAPABILITIES}\n"
    body = f"{len(want) + 4:04x}{want}0000{50:04x}have {newest}\n0009done\n"
    headers = {
        **_GIT,
        "Accept": "application/x-git-upload-pack-result",
        "Content-Type": "application/x-git-upload-pack-request",
    }
    return browser.send(path + "/git-upload-pack", headers, body.encode("ascii"), tap.arrived)


def _install(tap: Tap) -> None:
    """Put the tap where Kallithea makes the bytes of clones; let this process clone anything."""
    # Kallithea 0.6 has the first in kallithea.lib.
    older, base, hook, db = map(
        sys.modules.get,
        (
            "kallithea.lib.base",
            "kallithea.controllers.base",
            "mercurial.hook",
            "kallithea.model.db",
        ),
    )
    base = base or older
    if not (base and hook and db):
        raise NotMeasured("the application did not load Kallithea's code for clones")
    # The admin's own hooks must not take this for a clone.
    vars(hook)["hook"] = lambda *args, **options: False
    controller, users = base.BaseVCSController, db.User
    controller._authorize = lambda self, environ, action, *args: (users.get_default_user(), None)
    for vcs_controller in controller.__subclasses__():
        original = vars(vcs_controller)["_make_app"]
        # A tap of an earlier request is replaced, not wrapped.
        original = getattr(original, "untapped", original)
        vcs_controller._make_app = _tapped(original, tap)


def _tapped(
    make_app: Callable[[object, object], WSGIApplication], tap: Tap
) -> Callable[[object, object], WSGIApplication]:
    def make(controller: object, request: object) -> WSGIApplication:
        return tap.around(make_app(controller, request))

    vars(make)["untapped"] = make_app
    return make
