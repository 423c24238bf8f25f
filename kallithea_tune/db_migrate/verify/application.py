"""The proof that the application answers on the target as on the source.

It is loaded in child processes with its database read-only, and its caches and sessions in scratch
space. The source is visited before the target and once more with it: what differs between the two
answers of the source, such as tokens, process ids and ages, is masked; what is the same in both has
to be the same on the target.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Optional, Sequence

from kallithea_tune.config.redact import Redactor
from kallithea_tune.errors import NotMeasured, TuneError

if TYPE_CHECKING:
    from kallithea_tune.app.visit import Answer
    from kallithea_tune.config.instance import Instance

# Besides the summary of a repository of each type.
PAGES = ("/_admin/login", "/_admin/journal", "/_admin/public_journal")
SECONDS = 120.0  # for one start of the application and all pages
SERVER_ERROR = 500  # HTTP statuses from here on are the server's fault
SHOWN = 60  # characters of a line that are shown
_LOOKS_ONLY = Redactor()  # masks what looks like a secret
_PIECES = re.compile(r"<[^>]*>|[^<]+|<")
_WORDS = re.compile(r"\w+|\W")


@dataclass(frozen=True)
class PageComparison:
    """The status and the bytes of a page on the source and on the target, and how they differ.

    `difference` is empty where they do not.
    """

    path: str
    statuses: tuple[int, int]
    bytes: tuple[int, int]
    difference: str

    @property
    def sentence(self) -> str:
        """Describe it to the admin."""
        same = f"status {self.statuses[0]}, {self.bytes[0]} bytes, the same on both"
        return f"{self.path}: {self.difference or same}"


@dataclass(frozen=True)
class SourcePages:
    """The answers of the application on the source, one for each of `paths`."""

    paths: Sequence[str]
    answers: Sequence[Answer]


def visit_source(source: Instance, seconds: float = SECONDS) -> SourcePages:
    """Request the pages on the source. Raises TuneError when the application does not load."""
    from kallithea_tune.app import repositories

    try:
        latest = repositories.latest(source)
    except NotMeasured as error:
        raise TuneError(f"the repositories cannot be looked at: {error}") from None
    paths = [*PAGES, *("/" + name for _, name in sorted(latest.items()))]
    return SourcePages(paths, _visit(source, "source", paths, seconds))


def compare_pages(
    source: Instance,
    target: Instance,
    before: Optional[SourcePages] = None,
    seconds: float = SECONDS,
) -> list[PageComparison]:
    """Request the pages on `target`, and at the same time again on `source`, and compare them.

    `before` are the earlier answers of `source`, which are requested now if missing. Raises
    TuneError when the application does not load on one of them.
    """
    before = before or visit_source(source, seconds)
    with ThreadPoolExecutor(1) as worker:
        visiting = worker.submit(_visit, target, "target", before.paths, seconds)
        after = _visit(source, "source", before.paths, seconds)
        answers = visiting.result()
    redactor = target.redactor
    pages = _compared(before, answers, after, redactor)
    if any(page.difference for page in pages):
        # The source may have been faster, so that an age on the target exceeds both of its own.
        after = _visit(source, "source", before.paths, seconds)
        pages = _compared(before, answers, after, redactor)
    return pages


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


def _compared(
    before: SourcePages, answers: Sequence[Answer], after: Sequence[Answer], redactor: Redactor
) -> list[PageComparison]:
    return [
        PageComparison(
            path,
            (source.status, target.status),
            (source.size, target.size),
            _difference(source, target, again, redactor),
        )
        for path, source, target, again in zip(before.paths, before.answers, answers, after)
    ]


def _visit(instance: Instance, name: str, paths: Sequence[str], seconds: float) -> Sequence[Answer]:
    from kallithea_tune.app import visit
    from kallithea_tune.app.loading import DoesNotLoad
    from kallithea_tune.errors import NotMeasured

    requests = [visit.Request(path, keep=True) for path in paths]
    try:
        return visit.visit(instance, requests, seconds).answers
    except DoesNotLoad as error:
        raise TuneError(f"the application does not start on the {name}: {error.reason}") from None
    except NotMeasured as error:
        raise TuneError(f"the application could not be tested on the {name}: {error}") from None


def _difference(source: Answer, target: Answer, again: Answer, redactor: Redactor) -> str:
    if source.status != target.status:
        return f"the source answers with status {source.status}, the target with {target.status}"
    if source.headers.get("location") != target.headers.get("location"):
        return "the source redirects to another page than the target"
    line = first_difference(source.body, target.body, again.body, redactor)
    return line.sentence if line else ""


class LineDifference(NamedTuple):
    """The number of the first line that differs, and its text on both sides, shortened."""

    number: int
    source: str
    target: str

    @property
    def sentence(self) -> str:
        """Describe it to the admin."""
        return (
            f"line {self.number} is {self.source!r} on the source and {self.target!r} on the target"
        )


def first_difference(
    before: str, target: str, after: str, redactor: Redactor = _LOOKS_ONLY
) -> Optional[LineDifference]:
    """Return the first line of `target` that differs from `before` and `after`, both of the source.

    The text between two tags, and the words inside a tag, that differ between `before` and `after`
    may be anything in `target`: "6 minutes and 59 seconds ago" becomes "7 minutes ago".
    """
    pages = before.splitlines(), after.splitlines(), target.splitlines()
    for number in range(max(len(pages[0]), len(pages[2]))):
        first, second, other = (page[number] if number < len(page) else "" for page in pages)
        if other not in (first, second) and not _line_fits(first, second, other):
            return LineDifference(
                number + 1, shortened(first, redactor), shortened(other, redactor)
            )
    return None


def _line_fits(first: str, second: str, other: str) -> bool:
    pieces = [_PIECES.findall(line) for line in (first, second, other)]
    return (
        len(pieces[0]) != len(pieces[1])
        or len(pieces[0]) == len(pieces[2])
        and all(map(_piece_fits, *pieces))
    )


def _piece_fits(first: str, second: str, other: str) -> bool:
    if first == second or not first.startswith("<"):
        return first != second or other == first
    words = [_WORDS.findall(piece) for piece in (first, second, other)]
    return (
        len(words[0]) != len(words[1])
        or len(words[0]) == len(words[2])
        and all(one != two or one == three for one, two, three in zip(*words))
    )


def shortened(line: str, redactor: Redactor = _LOOKS_ONLY) -> str:
    """Return a line of a page as it may be shown: without secrets, not even the half of one."""
    line = redactor.text(" ".join(line.split()))
    return line if len(line) <= SHOWN else line[:SHOWN] + "..."
