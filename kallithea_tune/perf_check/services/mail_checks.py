"""Whether the mail server answers, and what waits for it where it does not."""

from __future__ import annotations

from typing import Iterator

from kallithea_tune.config.instance import Instance
from kallithea_tune.perf_check.measurement import Configuration, configuration
from kallithea_tune.perf_check.model import Finding, Harm, Severity, check
from kallithea_tune.perf_check.remedy import Effect, IniEdit, Option, Remedy
from kallithea_tune.perf_check.services.mail import MailServer, mail_server
from kallithea_tune.perf_check.services.servers import LIMIT_SECONDS

SLOW_MS = 500


@check(
    "MAIL001",
    "mail-server",
    "Mail server",
    measures=(mail_server, configuration),
    threshold=f"an answer within {LIMIT_SECONDS:g} s",
    source="our judgement; kallithea/model/notification.py, send_email",
    harm=Harm.some_pages,
    tags=("probe", "mail"),
)
def mail(measured: MailServer, settings: Configuration) -> Iterator[Finding]:
    """Judge the mail server, where there is one."""
    if measured.server:
        yield judge(measured, settings.instance)


def judge(measured: MailServer, instance: Instance) -> Finding:
    """A mail has no time limit in Kallithea, so who sends it waits as long as the server likes;
    where sending fails, the mail is lost, with a line in the log.
    """
    reply = measured.reply
    evidence: dict[str, object] = {"server": str(measured.server)}
    if reply.failed:
        evidence["said"] = reply.failed
        diagnosis = (
            f"the mail server does not answer: {_who(measured)} indefinitely"
            if reply.silent
            else f"mails are lost: {reply.failed}"
        )
        severity = Severity.error if reply.silent else Severity.warning
        remedy = _remedy(instance)
        return Finding(severity, diagnosis, "server", evidence, remedy=remedy)
    evidence["answer_ms"] = reply.ms
    if reply.ms > SLOW_MS and measured.in_requests:
        return Finding(
            Severity.advice,
            f"requests that send mail wait {reply.ms:.0f} ms until the mail server listens",
            "server",
            evidence,
            threshold=f"{SLOW_MS} ms",
            remedy="use a mail server on this machine, which passes mails on, or Celery: CEL001",
            impact_ms=reply.ms,
            impact_per="mail sent, before its text",
        )
    return Finding(Severity.ok, "the mail server answers", "server", evidence)


def _who(measured: MailServer) -> str:
    if measured.in_requests:
        return "each request that sends mail waits"
    if measured.errors:
        return "Celery's tasks that send mail, and each request that ends in an error, wait"
    return "each of Celery's tasks that sends mail holds a worker process"


def _remedy(instance: Instance) -> Remedy:
    until = "start it, or log mails only and restart Kallithea"
    if not instance.section:
        return until
    written = instance.sections[instance.section]
    # PasteDeploy ignores an option of the application that is in [DEFAULT], too.
    place = instance.section if "smtp_server" in written else "DEFAULT"
    # The application does not start with an address for errors and without a server.
    addresses = [name for name in written if name.endswith("trace_errors.error_email")]
    removed = tuple(Option(instance.section, name) for name in addresses)
    return IniEdit((Option(place, "smtp_server", ""), *removed), until, Effect.lasting)
