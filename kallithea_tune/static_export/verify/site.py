"""Everything that ``--verify`` tries, in order: files, pages, and what clients do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Iterator, Mapping, Sequence

from kallithea_tune.app import hg_heads, repositories
from kallithea_tune.config.instance import Instance
from kallithea_tune.errors import ConfigError, NotMeasured
from kallithea_tune.static_export.release.manifest import Manifest
from kallithea_tune.static_export.release.publish import Progress, silent
from kallithea_tune.static_export.verify import claims, fall_through, files, git, hg, hosts
from kallithea_tune.static_export.verify.client import Client
from kallithea_tune.static_export.verify.crawl import Crawl
from kallithea_tune.static_export.verify.finding import Finding, Note, Problem
from kallithea_tune.static_export.verify.target import Target

Probe = Callable[[Target], Iterator[Finding]]
# What clients do, by the words of the progress line.
PROBES: Mapping[str, Probe] = {
    "paths that are not exported": fall_through.verify_fall_through,
    "the prefix without a slash": hosts.verify_slash,
    "other hosts": hosts.verify_hosts,
    "what clients claim": claims.verify_claims,
    "the headers of hg": hg.verify_headers,
    "hg": hg.verify_repository,
    "a push of git": git.verify_push,
    "a fetch of git": git.verify_repository,
}


@dataclass(frozen=True)
class Verified:
    """What was found; `pages` are the paths of the pages that were opened, by kind."""

    problems: Sequence[Problem]
    notes: Sequence[str]
    pages: Mapping[str, str]
    unseen: Sequence[str]


def verify(
    target: Target, directory: str, release: Manifest, progress: Progress = silent
) -> Verified:
    """Try everything on the running server.

    Raises ConfigError when it cannot be reached, or refuses the login.
    """
    findings = list(files.verify(target.url, directory, release, progress))
    progress("opening pages", 0, 1)
    client = Client(target.url)
    crawl = Crawl(client, release)
    try:
        crawl.run(target.credentials)
    finally:
        client.close()
    findings += crawl.problems
    findings += as_clients(target, progress)
    progress("", 0, 0)
    problems = [finding for finding in findings if isinstance(finding, Problem)]
    notes = [finding.text for finding in findings if isinstance(finding, Note)]
    return Verified(problems, notes, crawl.seen, crawl.unseen)


def as_clients(target: Target, progress: Progress = silent) -> Iterator[Finding]:
    """Try what browsers, hg and git do. Raises as `verify` does."""
    try:
        for number, (title, probe) in enumerate(PROBES.items()):
            progress(f"trying {title}", number, len(PROBES))
            yield from probe(target)
    finally:
        target.client.close()


def target_of(instance: Instance, url: str, release: Manifest, credentials: str) -> Target:
    """Return what to try on `url`, with the repositories of the instance."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        latest = repositories.latest(instance)
        counted = hg_heads.of_instance(instance)
    except (SQLAlchemyError, NotMeasured, ConfigError):
        return Target(url, release.directories, credentials=credentials)
    return Target(url, release.directories, counted, latest, credentials)
