"""A check from outside: how many mails wait in a directory queue."""

import os
from typing import Iterator

from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Context
from kallithea_tune.perf_check.model import Finding, Severity, check


def judge_queue(waiting: int) -> Finding:
    """A hundred mails that wait are a mail server that does not answer."""
    severity = Severity.warning if waiting > 100 else Severity.ok
    return Finding(
        severity,
        "%d mails wait to be sent" % waiting,
        evidence={"waiting": waiting},
        threshold="100",
        source="our judgement",
        remedy="look into the log of the mail server",
    )


@check("MAIL001", "mail-queue", "Mails that wait", "mail", seconds=0.1)
def mail_queue(context: Context) -> Iterator[Finding]:
    """Count the files in the directory that the option mail_queue_dir names."""
    directory = context.instance.directory("mail_queue_dir")
    if directory is None:
        return
    try:
        waiting = len(os.listdir(directory))
    except OSError as error:
        raise NotMeasured(f"mail_queue_dir: {error.strerror}") from None
    yield judge_queue(waiting)
