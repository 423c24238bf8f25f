"""Filters around the application that compress clones, hold them back in memory, or believe
clients.
"""

from __future__ import annotations

import functools
from types import MappingProxyType
from typing import Iterator, Mapping, Sequence

from kallithea_tune.app.claims import CLAIMS
from kallithea_tune.app.vcs_transfer import Transfer
from kallithea_tune.config.forwarding import lacking
from kallithea_tune.config.instance import Instance
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Configuration, configuration
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import IniEdit, Option, Remedy
from kallithea_tune.perf_check.serving.page_times import Visits, visits
from kallithea_tune.system.busyness import Part

SOURCE = (
    "PEP 3333, 'Middleware Handling of Block Boundaries'; "
    "Kallithea manual, static files (buffered clones)"
)


@check(
    "WEB005",
    "serving-transfers",
    "Compressed or buffered clones",
    measures=(visits, configuration),
    source=SOURCE,
    tags=("probe", "app"),
    harm=Harm.some_pages,
    disturbed_by=(Part.cpu,),
)
def transfers(visited: Visits, settings: Configuration) -> Iterator[Finding]:
    """Judge how much of a clone had been made when its first byte left the outermost filter.

    A clone that is held back in memory completely is an error, one that is compressed a second time
    a warning, and so are pushes that a filter reads before Kallithea does.
    """
    application = visited.application
    observed = [
        (repository.kind, repository.transfer)
        for repository in application.repositories
        if repository.transfer
    ]
    if not observed:
        raise NotMeasured("there is no repository to clone, or no time was left")
    remedy = without_filter(settings.instance)
    for kind, transfer in observed:
        yield judge_clone(kind, transfer, application.filters, remedy)
        if kind == "git":
            yield from judge_push(transfer, application.filters, remedy)


def without_filter(instance: Instance) -> Remedy:
    """Return the remedy that removes the filter around an application, empty unless it has one."""
    name = instance.sections.get(instance.section, {}).get("filter-with", "")
    outer = instance.sections.get(f"filter:{name}", {}).get("filter-with", "")
    if not name or outer or len(instance.filters) != 1:
        return ""
    return IniEdit(
        (Option(instance.section, "filter-with"),), "compress in the web server, pages only"
    )


def judge_clone(
    kind: str, transfer: Transfer, filters: Sequence[str], remedy: Remedy = ""
) -> Finding:
    """A filter that needs the last byte before it passes on the first keeps clones in memory."""
    if not _is_clone(transfer):
        return Finding(
            Severity.unknown,
            f"not measured: a {kind} client is answered with status {transfer.status}",
            subject=kind,
        )
    names = ", ".join(filters)
    finding = functools.partial(
        Finding,
        subject=kind,
        evidence={
            "held_bytes": transfer.buffered,
            "of_bytes": transfer.size,
            "encoding": transfer.encoding or "none",
            "filters": names or "none",
        },
        threshold="not all held",
    )
    remedy = remedy or (
        f"keep {names or 'what buffers'} away from clones; compress in the web server, pages only"
    )
    if transfer.complete:
        return finding(
            Severity.error,
            f"{kind} clones stay in memory until their last byte is produced",
            remedy=remedy,
        )
    if transfer.encoding != transfer.own_encoding:
        return finding(
            Severity.warning,
            f"{kind} clones are compressed already, and are compressed again: {transfer.encoding}",
            remedy=remedy,
        )
    return finding(Severity.ok, f"{kind} clones are passed on unchanged, as they are produced")


def _is_clone(transfer: Transfer) -> bool:
    return transfer.status == 200 and transfer.size > 0


def judge_push(
    transfer: Transfer, filters: Sequence[str], remedy: Remedy = ""
) -> Iterator[Finding]:
    """A filter that reads the body of a request before Kallithea does keeps pushes in memory."""
    if not (_is_clone(transfer) and transfer.read_ahead):
        return
    names = ", ".join(filters) or "none"
    yield Finding(
        Severity.warning,
        "a filter reads the entire push before Kallithea gets it",
        subject="push",
        evidence={"read_bytes": transfer.read_ahead, "filters": names},
        threshold="0 bytes",
        remedy=remedy or f"keep {names} away from pushes",
    )


@check(
    "WEB016",
    "serving-claims",
    "What clients claim about host and scheme",
    measures=(visits, configuration),
    source="PasteDeploy 3.1, config.py (PrefixMiddleware)",
    tags=("probe", "app", "security"),
    harm=Harm.loss,
)
def claims(visited: Visits, settings: Configuration) -> Iterator[Finding]:
    """Judge whether a client decides by its own headers where a redirect leads."""
    believed = visited.application.believed
    if believed is None:
        raise NotMeasured("there was no time left to try it")
    yield judge_claims(believed, lacking(settings.instance))


def judge_claims(
    believed: Sequence[str], missing: Mapping[str, Mapping[str, str]] = MappingProxyType({})
) -> Finding:
    """Judge redirects only: complete links, as in mails, are not looked at."""
    finding = functools.partial(
        Finding,
        evidence={"sent": ", ".join(CLAIMS), "believed": ", ".join(believed) or "none"},
        threshold="none",
    )
    if not believed:
        return finding(Severity.ok, "none of the headers sent decides where a redirect leads")
    remedy: Remedy = (
        "set translate_forwarded_server = false in the section of the prefix filter, and have the "
        "server read the scheme: gearbox perf-check --explain WEB016"
    )
    if missing:
        options = tuple(
            Option(section, name, value)
            for section, values in missing.items()
            for name, value in values.items()
        )
        remedy = IniEdit(options, "if the web server runs on this machine")
    return finding(
        Severity.warning,
        f"redirects go where a client's {believed[0]} points",
        remedy=remedy,
    )
