"""Opens the application's pages through the web server and requests every file that they need."""

from __future__ import annotations

import re
from typing import Iterator, Optional, Sequence
from urllib.parse import parse_qs, unquote, urlencode, urljoin, urlsplit

from kallithea_tune.app.page_assets import EVER_FETCHED, asset_urls
from kallithea_tune.errors import ConfigError
from kallithea_tune.static_export.release.manifest import Manifest
from kallithea_tune.static_export.verify.client import Answer, Client
from kallithea_tune.static_export.verify.files import APPLICATIONS_ETAG
from kallithea_tune.static_export.verify.finding import Problem
from kallithea_tune.static_export.verify.lives import judge_life

LOGIN = "/_admin/login"
# Kind of page -> the pattern of its links below a repository.
BELOW_REPOSITORY = {
    "summary": r"",
    "changelog": r"/changelog",
    "files": r"/files/[^/]+/",
    "file": r"/files/[^/]+/[^?#]*[^/?#]",
    "changeset": r"/changeset/\w+",
    "pull requests": r"/pull-request",
    "pull request": r"/pull-request/\d+[^?#]*",
}
ADMIN = {
    "admin: " + name: "/_admin/" + name for name in ("settings", "users", "repos", "my_account")
}
KINDS = ("login", "front page", *BELOW_REPOSITORY, *ADMIN)
# A link is in HTML, or in the JSON of a table.
_LINK = re.compile(r"""href=\\?["']([^"'\\]+)""")
_TOKEN = re.compile(r"""name="(_\w*csrf\w*)"[^>]*value="([^"]+)\"""")


class Crawl:
    """One crawl: `seen` is the path of the first page of each kind, `problems` what was wrong."""

    def __init__(self, client: Client, release: Manifest) -> None:
        self._client, self._release = client, release
        self.seen: dict[str, str] = {}
        self.problems: list[Problem] = []
        self._needed: dict[str, str] = {}

    @property
    def unseen(self) -> list[str]:
        """The kinds of page that no link led to."""
        return [kind for kind in KINDS if kind not in self.seen]

    def run(self, login: str) -> None:
        """Log in as ``user:password`` if given, and open a page of each kind.

        Raises ConfigError when the login is refused.
        """
        self._visit("login", LOGIN)
        if login:
            self._log_in(*login.split(":", 1))
        links = self._links(self._visit("front page", "/"))
        for path in repositories(links):
            self._visit_repository(path)
        for kind, path in ADMIN.items():
            if path in links:
                self._visit(kind, path)
        for url, page in sorted(self._needed.items()):
            self._fetch(url, page)

    def _visit_repository(self, repository: str) -> None:
        links = [repository]
        for kind, pattern in BELOW_REPOSITORY.items():
            form = re.compile(re.escape(repository) + pattern)
            path = next((link for link in links if form.fullmatch(link)), "")
            if path and kind not in self.seen:
                links += self._links(self._visit(kind, path))

    def _visit(self, kind: str, path: str) -> str:
        """Open a page, record what it needs, and return its text."""
        answer = self._client.get(path)
        if answer.status >= 400:
            self._add_problem(path, f"this page ({kind}) is answered with {answer.status}")
        if answer.status != 200:
            return ""
        self.seen.setdefault(kind, path)
        for url in asset_urls(answer.text, EVER_FETCHED):
            self._needed.setdefault(url, path)
        return answer.text

    def _add_problem(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, "identity", message))

    def _links(self, text: str) -> list[str]:
        prefix = self._client.prefix
        paths = [
            urlsplit(url.replace("&amp;", "&")).path
            for url in _LINK.findall(text)
            if not url.startswith("http")
        ]
        return [path[len(prefix) :] for path in paths if path.startswith(prefix + "/")]

    def _log_in(self, user: str, password: str = "") -> None:
        fields = dict(
            _TOKEN.findall(self._client.get(LOGIN).text), username=user, password=password
        )
        answer = self._client.request(
            "POST",
            LOGIN,
            urlencode(fields).encode(),
            {"Content-Type": "application/x-www-form-urlencoded"},
        )
        # After a login comes a redirect; otherwise the form comes again.
        if answer.status not in (302, 303):
            raise ConfigError(
                f"--verify-login: {user} was not logged in (answered with {answer.status})"
            )

    def _fetch(self, url: str, page: str) -> None:
        """Request what `page` needs at `url`, unless it is on another host."""
        parts = urlsplit(urljoin(f"http://{self._client.host}{self._client.prefix}{page}", url))
        if parts.scheme == "data" or parts.netloc != self._client.host:
            return
        prefix = self._client.prefix
        if not parts.path.startswith(prefix + "/"):
            self._add_problem(parts.path, f"is needed by {page} and is outside of the prefix")
            return
        path = parts.path[len(prefix) :] + ("?" + parts.query if parts.query else "")
        item = self._release.files.get(unquote(parts.path[len(prefix) + 1 :]))
        version = parse_qs(parts.query).get("ver", [""])[0]
        lasting = item.lasting and version == self._release.version if item else None
        for message in judge_asset(self._client.get(path), lasting):
            self._add_problem(path, f"is needed by {page} and {message}")


def judge_asset(answer: Answer, lasting: Optional[bool]) -> Iterator[str]:
    """Yield what is wrong with the response for a file that a page needs. Pure.

    `lasting` is whether it can have no other content at this URL, None if it was not published.
    """
    if answer.status != 200:
        yield f"answered with {answer.status}"
    elif APPLICATIONS_ETAG.match(answer.headers.get("etag", "")):
        yield "comes from the application, not from the web server"
    elif lasting is not None:
        yield from judge_life(answer.headers, lasting)


def repositories(links: Sequence[str]) -> list[str]:
    """Return the paths of at most two repositories, known by links to their changesets. Pure."""
    matches = (re.fullmatch(r"(/.+)/changeset/[0-9a-f]{40}", path) for path in links)
    # Two, since one may have no pull request, and so on.
    return list(dict.fromkeys(match[1] for match in matches if match))[-2:]
