"""The application itself, asked for the same pages on the source and on the target.

It is loaded in processes of its own with its database read-only, its caches and sessions in a
directory that is gone afterwards. The source is asked before the target, and again: what differs
between these two answers, such as tokens, process ids and ages, is masked; what is the same in
both, the target has to answer as well.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional, Sequence

from kallithea_tune.config.redact import Redactor
from kallithea_tune.errors import TuneError

if TYPE_CHECKING:
    from kallithea_tune.app.visit import Answer
    from kallithea_tune.config.instance import Instance

PAGES = (
    "/_admin/login",
    "/_admin/journal",
    "/_admin/public_journal",
)  # and the summary of a repository of each kind
SECONDS = 120.0  # for one start of the application and all pages
SHOWN = 60  # characters of a line that are shown
_PIECES = re.compile(r"<[^>]*>|[^<]+|<")
_WORDS = re.compile(r"\w+|\W")


@dataclass(frozen=True)
class Page:
    """What a page answered on the source and on the target; `unlike` says what differs, empty where
    nothing.
    """

    path: str
    statuses: tuple[int, int]
    bytes: tuple[int, int]
    unlike: str

    @property
    def sentence(self) -> str:
        """Say it to the admin."""
        return "{}: {}".format(
            self.path,
            self.unlike
            or "status %d, %d bytes, the same on both" % (self.statuses[0], self.bytes[0]),
        )


@dataclass(frozen=True)
class Asked:
    """What the application answered on the source, each of `paths` in turn."""

    paths: Sequence[str]
    answers: Sequence[Answer]


def ask(source: Instance, seconds: float = SECONDS) -> Asked:
    """Ask `source` for the pages. Raises TuneError when the application does not load."""
    from kallithea_tune.app import visit

    paths = [*PAGES, *("/" + name for _, name in sorted(visit.repositories(source).items()))]
    return Asked(paths, _visit(source, "source", paths, seconds))


def compare(
    source: Instance,
    target: Instance,
    before: Optional[Asked] = None,
    seconds: float = SECONDS,
) -> list[Page]:
    """Ask `target`, and at the same time `source` again, for the pages that `source` was asked for
    `before`.

    Raises TuneError when the application does not load on one of them.
    """
    before = before or ask(source, seconds)
    with ThreadPoolExecutor(1) as worker:
        other = worker.submit(_visit, target, "target", before.paths, seconds)
        again = _visit(source, "source", before.paths, seconds)
        answers = other.result()
    pages = _pages(before, answers, again)
    if any(page.unlike for page in pages):
        # The source may have been quicker, and an age on the target greater than both that it gave.
        pages = _pages(before, answers, _visit(source, "source", before.paths, seconds))
    return pages


def _pages(before: Asked, answers: Sequence[Answer], again: Sequence[Answer]) -> list[Page]:
    return [
        Page(path, (one.status, other.status), (one.size, other.size), _unlike(one, other, later))
        for path, one, other, later in zip(before.paths, before.answers, answers, again)
    ]


def _visit(instance: Instance, name: str, paths: Sequence[str], seconds: float) -> Sequence[Answer]:
    from kallithea_tune.app import visit
    from kallithea_tune.errors import NotMeasured

    try:
        return visit.visit(
            instance, [visit.Request(path, keep=True) for path in paths], seconds
        ).answers
    except visit.DoesNotLoad as error:
        raise TuneError(
            f"the application does not start on the {name}: {error.kind} {error.message}"
        ) from None
    except NotMeasured as error:
        raise TuneError(f"the application could not be asked on the {name}: {error}") from None


def _unlike(source: Answer, target: Answer, again: Answer) -> str:
    if source.status != target.status:
        return "the source answers with status %d, the target with %d" % (
            source.status,
            target.status,
        )
    if source.headers.get("location") != target.headers.get("location"):
        return "the source leads to another page than the target"
    found = difference(source.body, target.body, again.body)
    return "line %d is %r on the source and %r on the target" % found if found else ""


def difference(before: str, other: str, after: str) -> Optional[tuple[int, str, str]]:
    """Return number and text of the first line of `other` that is not as in `before` and `after`;
    None without one.

    The text between two tags, and the words inside a tag, that differ between `before` and `after`
    may be anything in `other`: "6 minutes and 59 seconds ago" becomes "7 minutes ago".
    """
    ones, twos, others = before.splitlines(), after.splitlines(), other.splitlines()
    for number in range(max(len(ones), len(others))):
        one, two, asked = (
            lines[number] if number < len(lines) else "" for lines in (ones, twos, others)
        )
        if asked not in (one, two) and not _fits(one, two, asked):
            return number + 1, _short(one), _short(asked)
    return None


def _fits(one: str, two: str, asked: str) -> bool:
    pieces = [_PIECES.findall(line) for line in (one, two, asked)]
    return (
        len(pieces[0]) != len(pieces[1])
        or len(pieces[0]) == len(pieces[2])
        and all(map(_piece_fits, *pieces))
    )


def _piece_fits(one: str, two: str, asked: str) -> bool:
    if one == two or not one.startswith("<"):
        return one != two or asked == one
    words = [_WORDS.findall(piece) for piece in (one, two, asked)]
    return (
        len(words[0]) != len(words[1])
        or len(words[0]) == len(words[2])
        and all(first != second or first == third for first, second, third in zip(*words))
    )


def _short(line: str) -> str:
    line = Redactor().text(" ".join(line.split()))
    return line if len(line) <= SHOWN else line[:SHOWN] + "..."
