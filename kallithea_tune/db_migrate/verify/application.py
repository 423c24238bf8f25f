"""The proof that the application answers on the target as on the source.

On each it is loaded once, in a child process, with its database read-only, and its caches and
sessions in scratch space. The source is visited before the target and once more with it: what
differs between the two answers of the source, such as tokens and ages, is masked.

How long the journal takes depends on its length, and may be longer than everything else: it is
requested last, with a time of its own, and beside it the entries of its newest day.
"""

from __future__ import annotations

import contextlib
import re
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Iterator, Mapping, NamedTuple, Optional, Sequence

from kallithea_tune.db_migrate.verify.page_difference import first_difference
from kallithea_tune.errors import NotMeasured, TuneError
from kallithea_tune.system import interruption

if TYPE_CHECKING:
    from kallithea_tune.app.visit import Answer
    from kallithea_tune.config.instance import Instance
    from kallithea_tune.config.redact import Redactor

# Besides the summary of a repository of each type, and the newest day of the journal.
PAGES = ("/_admin/login",)
JOURNALS = ("/_admin/journal", "/_admin/public_journal")
NEWEST_DAY = "/_admin/journal?filter=date:"
_NEWEST = "SELECT action_date FROM user_logs ORDER BY user_log_id DESC LIMIT 1"
_DAY = re.compile(r"(\d{4})-(\d\d)-(\d\d)")
# Seconds, all our judgement: for the pages that do not depend on the journal's length; for the
# journals on the source, together, while Kallithea runs and while it is stopped; and for the
# journals on the target, which may never have been read there, at least, and so many times what the
# source took.
SECONDS, JOURNAL_SECONDS, STOPPED_SECONDS = 120.0, 60.0, 3.0
FAIR_SECONDS, FAIR_TIMES = 30.0, 10.0
# In place of Kallithea's own, which has the id of the process.
SETTINGS = {"instance_id": "kallithea-tune"}
SERVER_ERROR = 500  # HTTP statuses from here on are the server's fault

Answers = Mapping[str, "Answer"]


@dataclass(frozen=True)
class PageComparison:
    """The status and the bytes of a page on the source and on the target, and how they differ.

    `difference` is empty where they do not; `not_compared` is the reason why that is not known.
    """

    path: str
    statuses: tuple[int, int]
    bytes: tuple[int, int]
    difference: str = ""
    not_compared: str = ""

    @property
    def sentence(self) -> str:
        """Describe it to the admin."""
        if self.not_compared:
            return f"{self.path}: not compared, because {self.not_compared}"
        same = f"status {self.statuses[0]}, {self.bytes[0]} bytes, the same on both"
        return f"{self.path}: {self.difference or same}"


class Applications:
    """The application on both databases, in a child each, until `close`.

    Both are imported at once, and the source is loaded and visited by `visit_source`; the target is
    loaded by `compare`, when its rows are final. The journals of the source have
    `journal_seconds`. Raises TuneError when the application does not load on one of them.
    """

    def __init__(self, source: Instance, target: Instance, journal_seconds: float) -> None:
        self._instance, self._journal_seconds = source, journal_seconds
        self._redactor = target.redactor
        self._early: Optional[Future[Answers]] = None
        with contextlib.ExitStack() as opened:
            self._source = _Side("source", source, opened)
            self._target = _Side("target", target, opened)
            self._opened = opened.pop_all()
        self._workers = ThreadPoolExecutor(2)

    def close(self) -> None:
        """End both children."""
        with interruption.deferred():
            for side in (self._source, self._target):
                side.kill()
            self._workers.shutdown()
            self._opened.close()

    def visit_source(self) -> None:
        """Start requesting the pages of the source, which goes on meanwhile."""
        # Not in the thread, which starts nothing and opens nothing: this process may become root.
        paths = paths_of(self._instance)
        self._early = self._workers.submit(
            self._source.visit, paths, SECONDS, JOURNALS, self._journal_seconds
        )

    def compare(self) -> list[PageComparison]:
        """Request the pages on the target, and at the same time again on the source."""
        if not self._early:
            self.visit_source()
        assert self._early
        before = interruption.result_of(self._early)
        answered = [path for path in JOURNALS if before[path].status]
        paths = [path for path in before if path not in JOURNALS]
        took = sum(sum(before[path].ms) for path in answered) / 1000
        fair = max(FAIR_SECONDS, FAIR_TIMES * took)

        again = (paths, SECONDS, answered, 2 * self._journal_seconds)
        on_target = self._workers.submit(self._target.visit, paths, SECONDS, answered, fair)
        after = self._workers.submit(self._source.visit, *again)
        visits = _Visits(
            before, interruption.result_of(on_target), interruption.result_of(after), fair
        )
        pages = self._compared(visits)
        if any(page.difference for page in pages):
            # The source may have been faster, so that an age on the target exceeds both of its own;
            # and another process may show the members of a set in another order.
            with contextlib.ExitStack() as opened:
                renewed = _Side("source", self._instance, opened)
                pages = self._compared(visits._replace(after=renewed.visit(*again)))
        return pages

    def _compared(self, visits: _Visits) -> list[PageComparison]:
        return [
            compared(
                path, visits, self._journal_seconds if path in JOURNALS else SECONDS, self._redactor
            )
            for path in visits.before
        ]


class _Side:
    """The application on one of the databases; its visits must not overlap."""

    def __init__(self, name: str, instance: Instance, opened: contextlib.ExitStack) -> None:
        from kallithea_tune.app import visit

        self._name = name
        with self._translated():
            self._visitor = opened.enter_context(visit.visitor(instance, SETTINGS))

    def kill(self) -> None:
        """End it now, also while another thread waits for its answers."""
        self._visitor.kill()

    def visit(
        self, paths: Sequence[str], seconds: float, journals: Sequence[str], more_seconds: float
    ) -> Answers:
        """Request the `paths` within `seconds`, and then the `journals` within `more_seconds`."""
        from kallithea_tune.app.visit import Request

        found: dict[str, Answer] = {}
        for group, limit in ((paths, seconds), (journals, more_seconds)):
            requests = [Request(path, keep=True) for path in group]
            with self._translated():
                answers = self._visitor.visit(requests, limit).answers if requests else ()
            found.update(zip(group, answers))
        return found

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        from kallithea_tune.app.visit import DoesNotLoad

        try:
            yield
        except DoesNotLoad as error:
            raise TuneError(
                f"the application does not start on the {self._name}: {error.reason}"
            ) from None
        except NotMeasured as error:
            raise TuneError(
                f"the application could not be tested on the {self._name}: {error}"
            ) from None


def paths_of(source: Instance) -> list[str]:
    """Return the pages that do not depend on the journal's length."""
    from kallithea_tune.app import repositories

    try:
        latest = repositories.latest(source)
    except NotMeasured as error:
        raise TuneError(f"the repositories cannot be examined: {error}") from None
    return [*PAGES, *("/" + name for _, name in sorted(latest.items())), *_newest_day(source)]


def _newest_day(source: Instance) -> list[str]:
    """Return the page of the newest day of the journal, if that has one."""
    import sqlalchemy

    from kallithea_tune.db.engine import read_only_engine

    with read_only_engine(source.database_url).connect() as connection:
        newest = connection.execute(sqlalchemy.text(_NEWEST)).scalar()
    day = _DAY.match(str(newest))
    return [NEWEST_DAY + "".join(day.groups())] if day else []


class _Visits(NamedTuple):
    """The answers of source, target and source again; the journals of the target had `fair` s."""

    before: Answers
    target: Answers
    after: Answers
    fair: float


def compared(path: str, visits: _Visits, limit: float, redactor: Redactor) -> PageComparison:
    """Compare the answers for `path`, for which the source had `limit` seconds."""
    nothing = visits.before[path]
    source, target, again = (answers.get(path, nothing) for answers in visits[:3])
    difference = not_compared = ""
    if not source.status:
        not_compared = f"the source did not answer within {limit:g} s"
    elif not target.status:
        took = sum(source.ms) / 1000
        difference = (
            f"the source answers after {took:.1f} s, the target not within {visits.fair:.0f} s"
        )
    elif _heads_differ(source, target):
        difference = _heads_differ(source, target)
    elif not again.status:
        not_compared = "the source answered only once in time; the status is the same"
    else:
        line = first_difference(source.body, target.body, again.body, redactor)
        difference = line.sentence if line else ""
    statuses, sizes = (source.status, target.status), (source.size, target.size)
    return PageComparison(path, statuses, sizes, difference, not_compared)


def _heads_differ(source: Answer, target: Answer) -> str:
    if source.status != target.status:
        return f"the source answers with status {source.status}, the target with {target.status}"
    if source.headers.get("location") != target.headers.get("location"):
        return "the source redirects to another page than the target"
    return ""


def unexpected(
    pages: Sequence[PageComparison], rows_fixed: bool, source_written: bool
) -> list[PageComparison]:
    """Return the pages that must not differ as they do.

    Rows that were fixed or left out are visible, and may have made the source fail; of a source
    that may have been written to meanwhile only the statuses are comparable.
    """
    differing = [page for page in pages if page.difference]
    if rows_fixed:
        return [page for page in differing if page.statuses[1] >= SERVER_ERROR]
    if source_written:
        return [page for page in differing if page.statuses[0] != page.statuses[1]]
    return differing


def require_alike(pages: Sequence[PageComparison], rows_fixed: bool, source_written: bool) -> None:
    """Raise TuneError for the pages that are `unexpected`."""
    sentences = "; ".join(page.sentence for page in unexpected(pages, rows_fixed, source_written))
    if sentences:
        raise TuneError(
            "the target is complete, but the application does not answer there as on the source: "
            + sentences
        )
