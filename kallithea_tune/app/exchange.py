"""What is exchanged with the process in which the application is visited: requests and answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Mapping, Optional, TypeVar, cast

from kallithea_tune.app.loading import LoadFailure
from kallithea_tune.app.slow_request import Unanswered
from kallithea_tune.config.pastedeploy import Changes
from kallithea_tune.errors import NotMeasured

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """A GET request; with `keep` its answer includes the body.

    `prepare` is a function of a module that the child calls, untimed, with `arguments` before the
    request. `walk` is called in place of the request, with the `Browser` and `path` before the
    `arguments`. Arguments and results are converted by the annotations of the function.
    """

    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    keep: bool = False
    prepare: Optional[Callable[..., object]] = None
    walk: Optional[Callable[..., object]] = None
    arguments: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """The answer to a request: status, headers (lower case) and size of the last round.

    `ms` has the milliseconds of every round. `body` is filled where the request had `keep`.
    `statements` is the number of SQL statements of the last round, which took `sql_ms`
    milliseconds; `failed` is the exception raised in place of an answer. `prepared` is what the
    request's `prepare` or `walk` returned last. `shares` has the parts of the last round by what
    was done, see `Unanswered`, where it took more than a second. Status 0 and no times mean that
    there was no answer in time.
    """

    path: str
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    size: int = 0
    body: str = ""
    ms: tuple[float, ...] = ()
    statements: int = 0
    sql_ms: float = 0.0
    failed: str = ""
    prepared: object = None
    shares: Mapping[str, float] = field(default_factory=dict)

    def result_of(self, function: Callable[..., T]) -> T:
        """Return what `function`, the `prepare` or `walk` of the request, returned in the child.

        Raises NotMeasured where there was no time left for the request.
        """
        if not self.ms:
            raise NotMeasured("there was no time left for this request")
        return cast(T, self.prepared)


@dataclass(frozen=True)
class Visit:
    """One life of the application: how long it took to load, and its answers to the requests.

    `signed_in` tells that pages required a login and were read as the first admin; `refused` lists
    what the application tried to write outside the scratch directory; `unanswered` are the requests
    that had their time and no answer.
    """

    start_ms: float
    signed_in: bool
    refused: tuple[str, ...]
    answers: tuple[Answer, ...]
    unanswered: tuple[Unanswered, ...] = ()


@dataclass(frozen=True)
class Order:
    """What the child has to do: `load_seconds` limit the start of the application, `seconds` the
    requests, and `patience` a single one, but nothing lasts longer than until the monotonic time
    `end`. `settings` are overrides.
    """

    location: str
    changes: Changes
    directory: str
    requests: tuple[Request, ...]
    rounds: int
    load_seconds: float
    seconds: float
    patience: float
    end: float
    settings: Mapping[str, str]


@dataclass(frozen=True)
class Outcome:
    """What the child reports: one of the two."""

    visit: Optional[Visit] = None
    failure: Optional[LoadFailure] = None


@dataclass(frozen=True)
class Served:
    """Where the application answers over HTTP, on this machine only, and the process it runs in."""

    port: int
    pid: int

    @property
    def url(self) -> str:
        """The URL of its root."""
        return f"http://127.0.0.1:{self.port}"
