"""Opens the application's pages through the web server and asks for every file that they need."""

from __future__ import annotations

import html.parser
import re
from typing import Iterator, Optional, Sequence
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

from kallithea_tune.errors import ConfigError
from kallithea_tune.static_export.client import Answer, Client
from kallithea_tune.static_export.verify import APPLICATIONS_ETAG, LONG_LIFE, Problem, max_age

LOGIN = "/_admin/login"
# Kind of page -> what its links look like below a repository, or below the front page where there
# is none.
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
# A link stands in HTML, or in the JSON of a table.
_LINK = re.compile(r"""href=\\?["']([^"'\\]+)""")
_TOKEN = re.compile(r"""name="(_\w*csrf\w*)"[^>]*value="([^"]+)\"""")


class _Needs(html.parser.HTMLParser):
    """Collects what a browser fetches for a page: scripts, sheets, images and icons."""

    ICONS = ("stylesheet", "icon", "shortcut", "apple-touch-icon", "mask-icon", "manifest")

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Optional[str]]]) -> None:
        """Note the URL of a tag that makes a browser fetch something."""
        given = dict(attrs)
        wanted = given.get("src") if tag in ("script", "img") else None
        if tag == "link" and set((given.get("rel") or "").split()) & set(self.ICONS):
            wanted = given.get("href")
        if wanted:
            self.urls.append(wanted)


class Crawl:
    """One walk over the pages; `seen` holds the path of the first page of each kind, `problems`
    what was wrong.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.seen: dict[str, str] = {}
        self.problems: list[Problem] = []
        self._needed: dict[str, str] = {}

    @property
    def unseen(self) -> list[str]:
        """The kinds of page that no link led to."""
        return [kind for kind in KINDS if kind not in self.seen]

    def walk(self, login: str) -> None:
        """Log in as ``user:password`` where given, and open a page of each kind. Raises ConfigError
        if refused.
        """
        self._visit("login", LOGIN)
        if login:
            self._log_in(*login.split(":", 1))
        links = self._links(self._visit("front page", "/"))
        for path in repositories(links):
            self._walk_below(path)
        for kind, path in ADMIN.items():
            if path in links:
                self._visit(kind, path)
        for url, page in sorted(self._needed.items()):
            self._fetch(url, page)

    def _walk_below(self, repository: str) -> None:
        links = [repository]
        for kind, pattern in BELOW_REPOSITORY.items():
            found = next(
                (path for path in links if re.fullmatch(re.escape(repository) + pattern, path)), ""
            )
            if found and kind not in self.seen:
                links += self._links(self._visit(kind, found))

    def _visit(self, kind: str, path: str) -> str:
        """Open a page, note what it needs, and return its text."""
        answer = self._client.get(path)
        if answer.status >= 400:
            self._found(path, "this page (%s) is answered with %d" % (kind, answer.status))
        if answer.status != 200:
            return ""
        self.seen.setdefault(kind, path)
        needs = _Needs()
        needs.feed(answer.text)
        for url in needs.urls:
            self._needed.setdefault(url, path)
        return answer.text

    def _found(self, path: str, said: str) -> None:
        self.problems.append(Problem(path, "identity", said))

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
        # Who is let in is sent on to another page; who is not sees the form again.
        if answer.status not in (302, 303):
            raise ConfigError(
                "--verify-login: %s was not logged in (answered with %d)" % (user, answer.status)
            )

    def _fetch(self, url: str, page: str) -> None:
        """Ask for what `page` needs at `url`, unless another host has it."""
        parts = urlsplit(urljoin(f"http://{self._client.host}{self._client.prefix}{page}", url))
        if parts.scheme == "data" or parts.netloc != self._client.host:
            return
        prefix = self._client.prefix
        if not parts.path.startswith(prefix + "/"):
            self._found(parts.path, f"is needed by {page} and lies outside of the prefix")
            return
        path = parts.path[len(prefix) :] + ("?" + parts.query if parts.query else "")
        for said in judge_asset(self._client.get(path), "ver" in parse_qs(parts.query)):
            self._found(path, f"is needed by {page} and {said}")


def judge_asset(answer: Answer, versioned: bool) -> Iterator[str]:
    """Say what is wrong with the answer for a file that a page needs. Pure."""
    if answer.status != 200:
        yield "answered with %d" % answer.status
    elif APPLICATIONS_ETAG.match(answer.headers.get("etag", "")):
        yield "comes from the application, not from the web server"
    elif versioned and max_age(answer.headers) < LONG_LIFE:
        yield "may not be kept for a month, although its URL has a version (cache-control: {})".format(
            answer.headers.get("cache-control", "none")
        )


def repositories(links: Sequence[str]) -> list[str]:
    """Return the paths of the repositories that links lead to, known by their changesets; at most
    two. Pure.
    """
    found = [
        match[1]
        for match in (re.fullmatch(r"(/.+)/changeset/[0-9a-f]{40}", path) for path in links)
        if match
    ]
    # One may have no pull request, and so on.
    return list(dict.fromkeys(found))[-2:]
