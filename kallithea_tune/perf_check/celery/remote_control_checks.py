"""What the broker may have workers load and do."""

from __future__ import annotations

from typing import Iterator

from kallithea_tune.perf_check.celery.remote_control import (
    PLUG_IN,
    RemoteControl,
    remote_control,
)
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import Remedy, app_options

# What Kallithea 0.7.0 has its workers import, where the ini file says nothing.
TASKS = (
    "kallithea.lib.indexers.daemon",
    "kallithea.model.async_tasks",
    "kallithea.model.notification",
    "kallithea.model.repo",
)
UNSAFE = frozenset({"pickle", "application/x-python-serialize", "*"})
RESTART = "before you restart the workers"


@check(
    "CEL004",
    "celery-fleet",
    "Workers that report to --fleet",
    measures=(remote_control,),
    tags=("celery", "scaling", "config"),
    source="kallithea/lib/celery_app.py of Kallithea 0.7.0",
)
def plug_in(found: RemoteControl) -> Iterator[Finding]:
    """Workers load what --fleet needs, and keep Kallithea's own tasks."""
    lost = sorted(set(TASKS) - set(found.imports or TASKS))
    if lost:
        yield Finding(
            Severity.error,
            f"celery.imports replaces Kallithea's own list, and its workers lack {', '.join(lost)}",
            subject="celery.imports",
            evidence={"imports": list(found.imports or ())},
            threshold="all of Kallithea's modules",
            remedy=app_options(found.section, {"celery.imports": None}, RESTART),
        )
    if not found.wanted:
        return
    if found.include == PLUG_IN or PLUG_IN in (found.imports or ()):
        yield Finding(Severity.ok, f"workers load {PLUG_IN}", subject="celery.include")
        return
    yield Finding(
        Severity.warning,
        f"workers do not load {PLUG_IN}, and do not report to --fleet",
        subject="celery.include",
        evidence={"include": found.include},
        remedy=_include(found),
    )


def _include(found: RemoteControl) -> Remedy:
    if found.include:
        return f"celery.include takes one module: import {PLUG_IN} in {found.include}"
    return app_options(found.section, {"celery.include": PLUG_IN}, RESTART)


@check(
    "CEL005",
    "celery-pickle",
    "No pickled messages",
    measures=(remote_control,),
    tags=("celery", "config", "security"),
    harm=Harm.loss,
    source="a pickled control message was unpickled by a worker of Celery 5.3.6",
)
def pickled(found: RemoteControl) -> Iterator[Finding]:
    """Workers unpickle nothing that comes from the broker."""
    if not found.uses_celery:
        return
    unsafe = [word for word in found.accepted or () if word.lower() in UNSAFE]
    if not unsafe:
        yield Finding(Severity.ok, "workers accept no pickled messages")
        return
    safe = " ".join(word for word in found.accepted or () if word not in unsafe) or None
    yield Finding(
        Severity.error,
        "anyone who can write to the broker can run code in the workers, because they unpickle "
        "what they receive",
        subject="celery.accept_content",
        evidence={"accept_content": list(found.accepted or ())},
        threshold="no pickle",
        remedy=app_options(found.section, {"celery.accept_content": safe}, RESTART),
    )
