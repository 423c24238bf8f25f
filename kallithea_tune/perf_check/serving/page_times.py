"""Loads the application once for all checks that need its pages, static files or clones."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Iterator, Mapping, Optional, Sequence
from urllib.parse import quote

from kallithea_tune.app import claims, page_assets, vcs_transfer
from kallithea_tune.app.loading import DoesNotLoad
from kallithea_tune.app.page_assets import Asset
from kallithea_tune.app.repositories import latest, outside_groups
from kallithea_tune.app.slow_request import Unanswered
from kallithea_tune.app.vcs_transfer import Transfer
from kallithea_tune.app.visit import Answer, Request
from kallithea_tune.config.instance import Instance
from kallithea_tune.errors import NotMeasured, TuneError
from kallithea_tune.perf_check.application import visited
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.repositories.worst import Worst, worst

# How often each page is requested after its first time.
ROUNDS = 5
# The pages of a repository besides its summary: most views are of these, and they are the first to
# break with a Mercurial that Kallithea does not know.
INSIDE = {"changelog": "/changelog", "files": "/files/tip/"}
# How long a page is waited for: ten seconds are what users wait for at all.
PATIENCE_S = 10.5
# A busy machine needs so long for one answer to each request.
FEWEST_S = 4.0


@dataclass(frozen=True)
class Page:
    """A page, and its answers in their order; the first one follows the start of the application.

    There are no answers where no time was left for the page.
    """

    name: str
    path: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class RepositoryVisit:
    """The pages of one repository, and pulls from it.

    `kind` is ``hg`` or ``git``. `inside` has the answers of those pages of `INSIDE` that there was
    time for. `pull_ms` are the milliseconds of the pulls; `transfer` belongs to the first of them.
    """

    kind: str
    name: str
    summary: Page
    inside: Mapping[str, Answer]
    pull_ms: tuple[float, ...]
    transfer: Optional[Transfer]


@dataclass(frozen=True)
class WorstPage:
    """A page of the repository that has the most of something that makes this page slow.

    `sizes` has how much by what it is, as in ``{"refs": 60000}``. There are two answers, the first
    of which fills caches; fewer where no time was left or there was none.
    """

    title: str
    path: str
    repository: str
    sizes: Mapping[str, int]
    answers: tuple[Answer, ...] = ()


@dataclass(frozen=True)
class NoAnswer:
    """A request that had its time and no answer, such as ``git pull``, and the sizes of what it
    shows where they are known, see `WorstPage`.
    """

    title: str
    request: Unanswered
    sizes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Application:
    """What the loaded application answered.

    `filters` are the filters around it, from the outside in. `files` are the static files of the
    front page by path, none where no time was left or the front page is not shown. `outside_groups`
    is the number of repositories that the front page has a row for. `believed` are the headers of a
    client that decided about host or scheme of a redirect, None where no time was left.
    """

    start_ms: float
    filters: tuple[str, ...]
    front_page: Page
    repositories: tuple[RepositoryVisit, ...]
    files: Mapping[str, Asset]
    no_answers: tuple[NoAnswer, ...] = ()
    worst: tuple[WorstPage, ...] = ()
    outside_groups: int = 0
    believed: Optional[tuple[str, ...]] = None

    @property
    def pages(self) -> tuple[Page, ...]:
        """The front page and the summary page of each repository."""
        return (self.front_page, *(repository.summary for repository in self.repositories))


@dataclass(frozen=True)
class Visits:
    """One life of the application that the ini file `ini` describes, or why it did not load."""

    ini: str
    loaded: Optional[Application] = None
    failure: Optional[DoesNotLoad] = None

    @property
    def application(self) -> Application:
        """The loaded application. Raises DoesNotLoad, a NotMeasured, where it did not load."""
        if self.loaded is None:
            raise self.failure or DoesNotLoad("", "")
        return self.loaded

    @property
    def examined(self) -> Examined:
        """How many of the pages were answered."""
        if self.loaded is None:
            return Examined(0, 1, "page")
        answered = sum(bool(page.answers) for page in self.loaded.pages)
        return Examined(answered, len(self.loaded.pages), "page")


@measurement(seconds=12.0, writes="cache_dir", needs=("database", "app"), uses=(worst,))
def visits(context: Context) -> Visits:
    """Load the application in a child process, and request its pages, static files and pulls.

    The repositories are the public ones that changed last, one of each kind, and those with the
    most to show. An application that does not load is a result, too. Raises NotMeasured when it
    does not answer.
    """
    instance = context.instance
    newest, worst_pages = _newest_repositories(instance), _worst_pages(context)
    plan = _plan(newest, worst_pages)
    seconds = max(FEWEST_S, context.deadline.left - 0.5)
    try:
        seen = visited(context, [request for _, request in plan], seconds, PATIENCE_S)
    except DoesNotLoad as failure:
        return Visits(instance.path, failure=failure)
    answers: dict[str, tuple[Answer, ...]] = {}
    for (key, _), answer in zip(plan, seen.answers):
        if answer.ms:
            answers[key] = (*answers.get(key, ()), answer)
    files = answers.get("static files", ())
    rows = _outside_groups(instance)
    sizes = {"/": {"repositories": rows}, **{page.path: page.sizes for page in worst_pages}}
    late = [(plan[item.number], item) for item in seen.unanswered]
    application = Application(
        start_ms=seen.start_ms,
        filters=tuple(str(options["use"]) for options in instance.filters),
        front_page=Page("front page", "/", answers.get("front page", ())),
        repositories=tuple(_repository(kind, name, answers) for kind, name in newest.items()),
        files=files[0].result_of(page_assets.ask) if files else {},
        no_answers=tuple(
            NoAnswer(key, item, sizes.get(request.path, {})) for (key, request), item in late
        ),
        worst=tuple(replace(page, answers=answers.get(page.title, ())) for page in worst_pages),
        outside_groups=rows,
        believed=_believed(answers),
    )
    return Visits(instance.path, application)


def _believed(answers: Mapping[str, Sequence[Answer]]) -> Optional[tuple[str, ...]]:
    (answer,) = answers.get("claims", (None,))
    return answer.result_of(claims.believed) if answer else None


def _outside_groups(instance: Instance) -> int:
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return outside_groups(instance)
    except (SQLAlchemyError, TuneError):
        return 0


def _worst_pages(context: Context) -> Sequence[WorstPage]:
    try:
        found = context.measure(worst)
    except (NotMeasured, TuneError):
        # The checks of repositories report that themselves.
        return ()
    pages: dict[str, WorstPage] = {}
    for title, path, repository, sizes in _extremes(found):
        known = pages.get(path)
        sizes = {**(known.sizes if known else {}), **sizes}
        pages[path] = WorstPage(f"{title} of {repository}", path, repository, sizes)
    return tuple(pages.values())


def _extremes(found: Worst) -> Iterator[tuple[str, str, str, Mapping[str, int]]]:
    """Yield page, path, repository and size of what makes pages slow, once for each page."""
    if found.refs:
        path = f"/{quote(found.refs.name)}"
        yield "summary", path, found.refs.name, {"refs": found.refs.size}
        yield "changelog", f"{path}/changelog", found.refs.name, {"refs": found.refs.size}
    if found.readme:
        path = f"/{quote(found.readme.name)}"
        yield "summary", path, found.readme.name, {"README bytes": found.readme.size}
    if found.directory:
        path = f"/{quote(found.directory.name)}/files/tip/{quote(found.directory.place)}"
        yield "files page", path, found.directory.name, {"files": found.directory.size}
    if found.revisions:
        path = f"/{quote(found.revisions.name)}/changelog"
        yield "changelog", path, found.revisions.name, {"revisions": found.revisions.size}


def _newest_repositories(instance: Instance) -> Mapping[str, str]:
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return latest(instance)
    except (SQLAlchemyError, NotMeasured, TuneError):
        # Without a database the application does not load, and reports that itself.
        return {}


def _plan(
    newest: Mapping[str, str], worst_pages: Sequence[WorstPage]
) -> Sequence[tuple[str, Request]]:
    """Return the requests in their order, each with the key of its answer."""
    front_page = ("front page", Request("/"))
    summaries, pulls, inside = [], [], []
    for kind, name in newest.items():
        path = f"/{name}"
        pull = Request(path, walk=vcs_transfer.ask, arguments={"kind": kind})
        summaries.append((f"{kind} repository", Request(path)))
        pulls.append((f"{kind} pull", pull))
        inside += [(f"{kind} {page}", Request(path + suffix)) for page, suffix in INSIDE.items()]
    # What is requested once and is quick comes first: a slow page leaves less time behind it.
    return [
        front_page,
        ("static files", Request("/", walk=page_assets.ask)),
        ("claims", Request(claims.PAGE, walk=claims.believed)),
        *pulls,
        *pulls,
        *summaries,
        *inside,
        *[(page.title, Request(page.path)) for page in worst_pages for _ in range(2)],
        *[front_page, *summaries] * ROUNDS,
    ]


def _repository(kind: str, name: str, answers: Mapping[str, tuple[Answer, ...]]) -> RepositoryVisit:
    title = f"{kind} repository"
    pulls = answers.get(f"{kind} pull", ())
    return RepositoryVisit(
        kind=kind,
        name=name,
        summary=Page(title, f"/{name}", answers.get(title, ())),
        inside={
            page: answers[f"{kind} {page}"][0] for page in INSIDE if f"{kind} {page}" in answers
        },
        pull_ms=tuple(pull.ms[0] for pull in pulls),
        transfer=pulls[0].result_of(vcs_transfer.ask) if pulls else None,
    )
