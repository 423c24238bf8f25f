"""The pages inside repositories, as the visit of the application got them."""

from __future__ import annotations

from dataclasses import dataclass

from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.repositories.root import repositories_root
from kallithea_tune.perf_check.serving.page_times import (
    INSIDE,
    NoAnswer,
    RepositoryVisit,
    WorstPage,
    visits,
)


@dataclass(frozen=True)
class RepositoryPages:
    """The repositories that were visited, and the directory that contains them."""

    root: str
    repositories: tuple[RepositoryVisit, ...]

    @property
    def late(self) -> tuple[str, ...]:
        """The names of those for whose pages there was no time."""
        return tuple(item.name for item in self.repositories if len(item.inside) < len(INSIDE))

    @property
    def examined(self) -> Examined:
        """The repositories all of whose pages were requested."""
        total = len(self.repositories)
        return Examined(total - len(self.late), total, "repository")


@measurement(needs=("database",), uses=(visits, repositories_root))
def repository_pages(context: Context) -> RepositoryPages:
    """Return the answers for changelog and files of a repository of each kind.

    Raises DoesNotLoad where the application does not load.
    """
    repositories = context.measure(visits).application.repositories
    if not any(item.inside for item in repositories):
        return RepositoryPages("", repositories)
    return RepositoryPages(context.measure(repositories_root).path, repositories)


@dataclass(frozen=True)
class WorstPages:
    """The pages that have the most to show, and those of them that had no answer in their time."""

    pages: tuple[WorstPage, ...]
    no_answers: tuple[NoAnswer, ...]

    @property
    def examined(self) -> Examined:
        """The pages that were answered, or had their time for it."""
        late = {item.title for item in self.no_answers}
        count = sum(bool(page.answers) or page.title in late for page in self.pages)
        return Examined(count, len(self.pages), "page with much to show")


@measurement(needs=("database",), uses=(visits,))
def worst_pages(context: Context) -> WorstPages:
    """Return the answers of the repositories with the most refs, revisions and files, and the
    largest README.

    Raises DoesNotLoad where the application does not load.
    """
    application = context.measure(visits).application
    titles = {page.title for page in application.worst}
    late = tuple(item for item in application.no_answers if item.title in titles)
    return WorstPages(application.worst, late)
