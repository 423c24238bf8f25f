"""``--fleet`` of perf-check: the reports of all Celery worker machines."""

from __future__ import annotations

import dataclasses
import secrets
from typing import TYPE_CHECKING, Sequence

from kallithea_tune.errors import ConfigError, NotMeasured
from kallithea_tune.perf_check.celery.request_tasks import uses_celery
from kallithea_tune.perf_check.fleet import client, facts, merging, messages, report, worker
from kallithea_tune.perf_check.fleet.messages import Request
from kallithea_tune.perf_check.results import Results, Silent

if TYPE_CHECKING:
    from kallithea_tune.config.instance import Instance
    from kallithea_tune.perf_check.model import Check


def require(instance: Instance) -> None:
    """Raise ConfigError where the ini file has no workers."""
    if not uses_celery(instance):
        raise ConfigError(
            f"--fleet: set use_celery = true and celery.broker_url in [{instance.section}] of "
            f"{instance.path}"
        )


def joined(
    results: Results,
    instance: Instance,
    checks: Sequence[Check],
    budget: float,
    progress: client.Progress,
) -> Results:
    """Return the results with those of the workers, which run the same checks."""
    wanted = tuple(item.id for item in report.allowed(checks))
    request = Request(secrets.token_hex(16), wanted, min(budget, messages.MOST_SECONDS))
    try:
        if not wanted:
            raise NotMeasured("none of the checks runs on other machines")
        url = instance.settings.get("celery.broker_url", "amqp://")
        replies = client.reports(url, request, progress)
    except NotMeasured as error:
        nobody = Silent("the fleet", instance.redactor.text(str(error)))
        return dataclasses.replace(results, silent=(nobody,))
    own = merging.Reported(
        results.runs[0], worker.here(instance.path), facts.facts_here(instance, request.token)
    )
    return merging.merged(results, replies, own)
