"""Whether several instances have in common what they must."""

from __future__ import annotations

from typing import Iterator, Sequence

from kallithea_tune.db.url import sqlite_file
from kallithea_tune.perf_check.measurement import Configuration, configuration
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import Remedy, app_options
from kallithea_tune.perf_check.results import Rule
from kallithea_tune.perf_check.scaling.comparison import REQUIREMENTS, Break, breaks
from kallithea_tune.perf_check.scaling.instances import Instances, instances, instances_unproven
from kallithea_tune.perf_check.scaling.programs import cron_jobs, running_versions

TRIED = "two running instances of Kallithea 0.7.0; see the page for what was not run"


def judge(found: Instances, settings: Configuration, check: str) -> Iterator[Finding]:
    """Judge what one instance has otherwise than the others, of the settings of `check`."""
    instance = settings.instance
    wanted = [item.setting for item in REQUIREMENTS if item.check == check]
    broken = [item for item in breaks(found.facts, instance.uri) if item.requirement.check == check]
    yield from (finding(item, instance.section) for item in broken)
    own = next((item for item in found.facts if item.uri == instance.uri), None)
    unknown = {
        f"{name} at {item.name}: {item.values[name].failure}"
        for item in found.facts
        for name in wanted
        if item.values[name].failure
    }
    for reason in sorted(unknown):
        yield Finding(Severity.unknown, f"not measured: {reason}")
    if own and not broken and not unknown:
        yield Finding(
            Severity.ok,
            f"{len(found.facts)} instances agree on {', '.join(wanted)}",
            evidence={"instances": [item.name for item in found.facts], **_notes(found, wanted)},
        )


def _notes(found: Instances, wanted: Sequence[str]) -> dict[str, str]:
    """Return how storage was recognised that has another path at one of the instances."""
    return {
        f"{name} at {item.name}": item.values[name].note
        for item in found.facts
        for name in wanted
        if item.values[name].note
    }


def finding(broken: Break, section: str) -> Finding:
    """Return what users see of a broken requirement, and what an instance has to have instead."""
    requirement = broken.requirement
    equal = requirement.rule is Rule.must_be_equal
    evidence: dict[str, object] = {"other": broken.other}
    if broken.own.shown or broken.reference.shown:
        evidence = {"here": broken.own.shown, broken.other: broken.reference.shown}
    verb = "is not that of" if equal else "is also that of"
    return Finding(
        requirement.severity,
        f"{requirement.setting} {verb} {broken.other}: {requirement.seen}",
        subject=requirement.setting,
        evidence=evidence,
        threshold=requirement.rule.value,
        remedy=_remedy(broken, section),
    )


_BY_HAND = {
    "repositories": "give both the sqlalchemy.url of {other}",
    "address": "give each instance of one machine a port of its own in its server's section",
    "versions": "install what {other} has, and restart this instance",
    "host": "give each machine a host name of its own",
    "index-create": "remove the job from {own}; that of {other} is enough",
}


def _remedy(broken: Break, section: str) -> Remedy:
    sentence = _BY_HAND.get(broken.requirement.setting)
    if sentence:
        return sentence.format(own=broken.own.shown, other=broken.other)
    if not broken.reference.option:
        return f"set {broken.requirement.setting} as in {broken.other}, and restart"
    values = {name: value or None for name, value in broken.reference.option.items()}
    return app_options(section, values)


@check(
    "SCA001",
    "instances-database",
    "One database and one place of repositories",
    measures=(instances, configuration),
    settings=(instances_unproven, configuration),
    source=TRIED,
    tags=("scaling", "config"),
    harm=Harm.loss,
)
def database(found: Instances, settings: Configuration) -> Iterator[Finding]:
    """All instances use the same database and repositories, whatever these are called."""
    yield from judge(found, settings, "SCA001")


@check(
    "SCA002",
    "instances-sessions",
    "One store, name and secret of sessions",
    measures=(instances, configuration),
    settings=(instances_unproven, configuration),
    source=TRIED,
    tags=("scaling", "config"),
)
def sessions(found: Instances, settings: Configuration) -> Iterator[Finding]:
    """Who is logged in at one instance is logged in at all of them."""
    yield from judge(found, settings, "SCA002")


@check(
    "SCA003",
    "instances-directories",
    "Directories of caches, index and locks in common",
    measures=(instances, configuration),
    settings=(instances_unproven, configuration),
    source=TRIED,
    tags=("scaling", "config"),
    harm=Harm.some_pages,
)
def directories(found: Instances, settings: Configuration) -> Iterator[Finding]:
    """Caches, the search index and locks lie in the same directories for all instances."""
    yield from judge(found, settings, "SCA003")


@check(
    "SCA004",
    "instances-broker",
    "One broker and queue",
    measures=(instances, configuration),
    settings=(instances_unproven, configuration),
    source=TRIED,
    tags=("scaling", "config", "celery"),
    harm=Harm.some_pages,
)
def broker(found: Instances, settings: Configuration) -> Iterator[Finding]:
    """The tasks of all instances arrive at the same workers."""
    yield from judge(found, settings, "SCA004")


@check(
    "SCA005",
    "instances-uuid",
    "One key of password resets",
    measures=(instances, configuration),
    settings=(instances_unproven, configuration),
    source=TRIED,
    tags=("scaling", "config"),
    harm=Harm.some_pages,
)
def uuid(found: Instances, settings: Configuration) -> Iterator[Finding]:
    """A mail for a new password works at each instance."""
    yield from judge(found, settings, "SCA005")


@check(
    "SCA006",
    "instances-programs",
    "One file of SSH keys, and programs that all have",
    measures=(instances, configuration),
    settings=(instances_unproven, configuration),
    source=TRIED,
    tags=("scaling", "config"),
    harm=Harm.some_pages,
)
def programs(found: Instances, settings: Configuration) -> Iterator[Finding]:
    """SSH keys and hooks refer to programs by paths that every instance has."""
    yield from judge(found, settings, "SCA006")


@check(
    "SCA007",
    "instances-addresses",
    "An address of its own for each instance",
    measures=(instances, configuration),
    settings=(instances_unproven, configuration),
    source="bind(2), EADDRINUSE",
    tags=("scaling", "config"),
)
def addresses(found: Instances, settings: Configuration) -> Iterator[Finding]:
    """No two instances of one machine listen at the same address."""
    yield from judge(found, settings, "SCA007")


@check(
    "SCA012",
    "instances-versions",
    "One version of Kallithea, Mercurial and Python",
    measures=(running_versions, configuration),
    source="Mercurial's requirements of repositories (hg help internals.requirements)",
    tags=("scaling",),
    harm=Harm.some_pages,
)
def versions(found: Instances, settings: Configuration) -> Iterator[Finding]:
    """The processes of all instances run the same versions."""
    yield from judge(found, settings, "SCA012")


@check(
    "SCA013",
    "instances-jobs",
    "One instance whose search index cron updates",
    measures=(cron_jobs, configuration),
    source="two index-create of Kallithea 0.7.0 in process namespaces of their own",
    tags=("scaling",),
    harm=Harm.some_pages,
)
def jobs(found: Instances, settings: Configuration) -> Iterator[Finding]:
    """Cron updates the search index for one instance only."""
    yield from judge(found, settings, "SCA013")


@check(
    "SCA015",
    "fleet-hosts",
    "A host name of its own for each machine",
    measures=(configuration,),
    source="mercurial/lock.py of Mercurial 5.9.3",
    tags=("scaling",),
    harm=Harm.loss,
)
def hosts(settings: Configuration) -> Iterator[Finding]:
    """No two machines of --fleet, which compares them, have the same host name."""
    return iter(())


@check(
    "SCA014",
    "instances-sqlite",
    "SQLite on one machine only",
    measures=(instances, configuration),
    settings=(instances_unproven, configuration),
    source="sqlite.org/whentouse.html and lockingv3.html",
    tags=("scaling", "config", "database"),
    harm=Harm.loss,
)
def one_machine(found: Instances, settings: Configuration) -> Iterator[Finding]:
    """No SQLite file is used by instances of several machines."""
    url = settings.instance.database_url
    if not found.facts or not sqlite_file(url):
        return
    yield sqlite_on(sorted({item.machine or "this machine" for item in found.facts}))


def sqlite_on(machines: Sequence[str]) -> Finding:
    """Judge that a SQLite database is used on these machines."""
    evidence: dict[str, object] = {"machines": list(machines)}
    if len(machines) == 1:
        fine = "no instance listens at an address of another machine"
        return Finding(Severity.ok, fine, evidence=evidence)
    return Finding(
        Severity.error,
        f"SQLite is used from {len(machines)} machines, whose locks may not exclude one another",
        evidence=evidence,
        threshold="one machine",
        remedy="move the database to a server: gearbox db-migrate --to URL",
    )
