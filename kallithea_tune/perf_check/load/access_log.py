"""What a web server's access log in the combined format says about the load: kinds, agents, rate.

Lines are written by strangers: each is matched once, in bounded time, and nothing of it is loaded.
"""

from __future__ import annotations

import collections
import enum
import os
import re
import stat
from dataclasses import dataclass
from typing import BinaryIO, Callable, Iterator, Mapping, Optional
from urllib.parse import unquote, urlsplit

from kallithea_tune.errors import ConfigError, NotMeasured
from kallithea_tune.perf_check.load.mix import Kind
from kallithea_tune.perf_check.measurement import Examined

# About 300,000 requests, which take two seconds to read: our judgement.
NEWEST_BYTES = 64 << 20
# Longer than Kallithea's servers accept a request to be.
LONGEST_LINE = 1 << 16
# Of so many different agents, the most frequent are known; the others are counted.
MOST_AGENTS, SHOWN_AGENTS, AGENT_LENGTH = 10000, 3, 60

_TEXT = r'"((?:[^"\\]|\\.)*)"'
# HOST IDENT USER [TIME] "REQUEST" STATUS BYTES "REFERER" "AGENT", as in Apache's manual (Log Files,
# Combined Log Format) and nginx's predefined `combined`; more may follow.
_LINE = re.compile(
    rf"\S+ \S+ .{{0,200}}?\[([^\]]{{1,40}})\] {_TEXT} (\d{{3}}) (?:\d+|-) {_TEXT} {_TEXT}"
)
_STATIC = re.compile(r"/(css|js|images|fonts|codemirror)/|/(favicon\.ico|robots\.txt)$")
_PAGE = re.compile(
    r"/(?P<page>_admin|changelog|changeset|compare|files|raw|rawfile|annotate|archive|feed|"
    r"branches|tags|bookmarks|statistics|pull-request|forks|followers)(?:/|$)"
)
_PAGES = {
    "changelog": Kind.changelog,
    "files": Kind.files,
    "raw": Kind.raw,
    "rawfile": Kind.raw,
    "feed": Kind.feed,
}
_CLIENT = re.compile(r"^(git/|JGit/|mercurial/|hg/|TortoiseHg|go-git|isomorphic-git)", re.I)
# Words by which robots, monitoring and programs call themselves: our collection.
_AUTOMATED = re.compile(
    r"bot\b|bot[/ ;)-]|crawl|spider|slurp|archiver|headless|preview|scan|monitor|nagios|"
    r"check_http|zabbix|prometheus|uptime|pingdom|jenkins|curl/|wget/|python|java/|libwww|"
    r"go-http|okhttp|httpclient|ruby|perl|php|axios|node-fetch|feed|rss|\+?https?://",
    re.I,
)


class Agent(enum.Enum):
    """What made a request, as far as it says so itself."""

    browser = "browsers"
    client = "clients of Git and Mercurial"
    automated = "robots and programs"
    unnamed = "without a name"


@dataclass(frozen=True)
class AccessLog:
    """What was requested of the application, between `first` and `last` as the log has them.

    `kinds` counts requests that were answered and that a load can repeat; `agents` counts all but
    those for static files. `robots` are the most frequent of the automated agents with their
    requests, `busiest_minute` the most requests in one minute. Of `lines`, `unread` ones are not
    in the combined format, and `partial` says that the log begins before what was read.
    """

    lines: int
    unread: int
    kinds: Mapping[Kind, int]
    agents: Mapping[Agent, int]
    robots: Mapping[str, int]
    busiest_minute: int
    first: str
    last: str
    partial: bool = False

    @property
    def requests(self) -> int:
        """All requests but those for static files."""
        return sum(self.agents.values())

    @property
    def period(self) -> str:
        """When the requests were made: ``10/Oct/2025:13:55:36 +0000 to ...``."""
        return f"{self.first} to {self.last}" if self.first else "never"

    @property
    def examined(self) -> Examined:
        """All lines in the part of the log that was read."""
        return Examined(self.lines - self.unread, self.lines, "line of the access log")


@dataclass(frozen=True)
class Request:
    """A line of the log."""

    time: str
    method: str
    target: str
    status: int
    agent: str


def read(path: str, prefix: str = "", out_of_time: Callable[[], bool] = lambda: False) -> AccessLog:
    """Return what the newest `NEWEST_BYTES` of the log at `path` say.

    `prefix` is the path at which the application is mounted. Raises ConfigError for what is not a
    readable file, or not in the combined format, and NotMeasured once `out_of_time` is true.
    """
    try:
        with _opened(path) as file:
            size = os.fstat(file.fileno()).st_size
            partial = size > NEWEST_BYTES
            if partial:
                file.seek(size - NEWEST_BYTES)
                file.readline(LONGEST_LINE)
            found = _summary(_lines(file, out_of_time), prefix, partial)
    except OSError as error:
        raise _unreadable(path, error) from error
    if found.lines and found.unread == found.lines:
        raise ConfigError(f"--access-log: no line of '{path}' is in the combined log format")
    return found


def require_readable(path: str) -> None:
    """Raise ConfigError for what is not a readable file."""
    try:
        _opened(path).close()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: OSError) -> ConfigError:
    return ConfigError(f"--access-log: '{path}' cannot be read: {error.strerror or error}")


def request_of(line: str) -> Optional[Request]:
    """Return the request of a line; None for one that is not in the combined format."""
    match = _LINE.match(line)
    if not match:
        return None
    time, request, status, _, agent = match.groups()
    # What is not HTTP, as TLS to a plain port, has no method and target.
    words: list[str] = request.split(" ")
    method, target = [*words, "", ""][:2]
    return Request(time, method, target, int(status), agent)


def kind_of(request: Request, prefix: str = "") -> Optional[Kind]:
    """Return the kind of an answered request, None for what a load does not repeat.

    A pull of Git is known by its first request, one of Mercurial by the one for its data. Both may
    fetch a few changes only, which a log does not show.
    """
    if not (200 <= request.status < 300 or request.status == 304):
        return None
    path, query = _path(request, prefix)
    if path.endswith("/info/refs"):
        return Kind.git if "service=git-upload-pack" in query else None
    if "cmd=" in query:
        return Kind.hg if re.search(r"(^|&)cmd=getbundle(&|$)", query) else None
    if request.method != "GET" or path.endswith(("/git-upload-pack", "/git-receive-pack")):
        return None
    if path in ("", "/"):
        return Kind.front
    page = _PAGE.search(path)
    return _PAGES.get(page["page"]) if page else Kind.summary


def agent_of(name: str) -> Agent:
    """Return what calls itself `name`; what says that it is a browser may be anything."""
    if name in ("", "-"):
        return Agent.unnamed
    if _CLIENT.search(name):
        return Agent.client
    return Agent.automated if _AUTOMATED.search(name) else _browser_or_program(name)


def _browser_or_program(name: str) -> Agent:
    return Agent.browser if name.startswith(("Mozilla/", "Opera/")) else Agent.automated


def _path(request: Request, prefix: str) -> tuple[str, str]:
    try:
        parts = urlsplit("//host" + request.target if request.target[:1] == "/" else "")
    except ValueError:
        return "", ""
    path = unquote(parts.path)
    prefix = prefix.rstrip("/")
    return (path[len(prefix) :] if prefix and path.startswith(prefix) else path), parts.query


def _summary(lines: Iterator[str], prefix: str, partial: bool) -> AccessLog:
    kinds: collections.Counter[Kind] = collections.Counter()
    agents: collections.Counter[Agent] = collections.Counter()
    robots: collections.Counter[str] = collections.Counter()
    minutes: collections.Counter[str] = collections.Counter()
    count = unread = 0
    first = last = ""
    for line in lines:
        count += 1
        request = request_of(line)
        if not request:
            unread += 1
            continue
        if not request.target.startswith("/") or _STATIC.search(_path(request, prefix)[0]):
            continue
        first, last = first or request.time, request.time
        kind, agent = kind_of(request, prefix), agent_of(request.agent)
        agents[agent] += 1
        # 10/Oct/2025:13:55:36 +0000
        minutes[request.time.rpartition(":")[0]] += 1
        if kind:
            kinds[kind] += 1
        name = request.agent[:AGENT_LENGTH]
        if agent is Agent.automated and (name in robots or len(robots) < MOST_AGENTS):
            robots[name] += 1
    shown = dict(robots.most_common(SHOWN_AGENTS))
    busiest = max(minutes.values(), default=0)
    return AccessLog(count, unread, kinds, agents, shown, busiest, first, last, partial)


def _opened(path: str) -> BinaryIO:
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError("it is not a regular file")
    return os.fdopen(handle, "rb")


def _lines(file: BinaryIO, out_of_time: Callable[[], bool]) -> Iterator[str]:
    """Yield the lines; of one that is too long, the beginning."""
    end = os.fstat(file.fileno()).st_size
    number = 0
    while file.tell() < end:
        if number % 1000 == 0 and out_of_time():
            raise NotMeasured("there was no time to read the access log to its end")
        number += 1
        line = file.readline(LONGEST_LINE)
        rest = line
        while rest and not rest.endswith(b"\n"):
            rest = file.readline(LONGEST_LINE)
        yield line.decode("utf-8", "replace")
