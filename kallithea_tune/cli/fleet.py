"""``--fleet`` of perf-check: the reports of all Celery worker machines."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Sequence

from kallithea_tune.errors import ConfigError, NotMeasured
from kallithea_tune.perf_check.celery.request_tasks import uses_celery
from kallithea_tune.perf_check.fleet import client, merging, messages, report, worker
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
    wanted = [item.id for item in report.allowed(checks)]
    try:
        if not wanted:
            raise NotMeasured("none of the checks is one that other machines run")
        replies = client.reports(
            instance.settings.get("celery.broker_url", "amqp://"),
            wanted,
            min(budget, messages.MOST_SECONDS),
            progress,
        )
    except NotMeasured as error:
        nobody = Silent("the fleet", instance.redactor.text(str(error)))
        return dataclasses.replace(results, silent=(nobody,))
    return merging.merged(results, replies, worker.here(instance.path))
