"""The pages inside repositories, as the visit of the application got them."""

from __future__ import annotations

from dataclasses import dataclass

from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.repositories.root import repositories_root
from kallithea_tune.perf_check.repositories.worst import worst
from kallithea_tune.perf_check.serving.page_times import (
    INSIDE,
    NoAnswer,
    RepositoryVisit,
    WorstPage,
    visits,
)


@dataclass(frozen=True)
class RepositoryPages:
    """The repositories that were visited, and the directory that contains them.

    Pages of the kinds in `hanging` (``git files``) had no answer in their time.
    """

    root: str
    repositories: tuple[RepositoryVisit, ...]
    hanging: frozenset[str] = frozenset()

    @property
    def silent(self) -> tuple[str, ...]:
        """The pages that had no answer in their time, as in ``files of one``."""
        return tuple(
            f"{page} of {item.name}"
            for item in self.repositories
            for page in INSIDE
            if f"{item.kind} {page}" in self.hanging
        )

    @property
    def late(self) -> tuple[str, ...]:
        """The names of those for whose pages there was no time."""
        return tuple(
            item.name
            for item in self.repositories
            if any(
                page not in item.inside and f"{item.kind} {page}" not in self.hanging
                for page in INSIDE
            )
        )

    @property
    def examined(self) -> Examined:
        """The repositories all of whose pages were requested."""
        complete = [item for item in self.repositories if len(item.inside) == len(INSIDE)]
        return Examined(len(complete), len(self.repositories), "repository")


@measurement(needs=("database",), uses=(visits, repositories_root))
def repository_pages(context: Context) -> RepositoryPages:
    """Return the answers for changelog and files of a repository of each kind.

    Raises DoesNotLoad where the application does not load.
    """
    application = context.measure(visits).application
    repositories = application.repositories
    hanging = frozenset(item.title for item in application.no_answers)
    if not any(item.inside for item in repositories):
        return RepositoryPages("", repositories, hanging)
    return RepositoryPages(context.measure(repositories_root).path, repositories, hanging)


@dataclass(frozen=True)
class WorstPages:
    """The pages that have the most to show, and those of them that had no answer in their time.

    They are those of the `repositories` that there was time to look at.
    """

    pages: tuple[WorstPage, ...]
    no_answers: tuple[NoAnswer, ...]
    repositories: Examined

    @property
    def examined(self) -> Examined:
        """The pages that were answered or had their time for it, or else the repositories."""
        late = {item.title for item in self.no_answers}
        count = sum(bool(page.answers) or page.title in late for page in self.pages)
        pages = Examined(count, len(self.pages), "page with much to show")
        return self.repositories if pages.complete else pages


@measurement(needs=("database",), uses=(visits, worst))
def worst_pages(context: Context) -> WorstPages:
    """Return the answers of the repositories with the most refs, revisions and files, and the
    largest README.

    Raises DoesNotLoad where the application does not load, and what `worst` raises.
    """
    application = context.measure(visits).application
    titles = {page.title for page in application.worst}
    late = tuple(item for item in application.no_answers if item.title in titles)
    return WorstPages(application.worst, late, context.measure(worst).examined)
