"""A check from outside: how many mails wait in a directory queue."""

import os
from dataclasses import dataclass
from typing import Iterator, Optional

from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.model import Finding, Severity, check

MANY = 100


@dataclass(frozen=True)
class MailQueue:
    """How many mails wait; None without a queue."""

    waiting: Optional[int]

    @property
    def examined(self) -> Examined:
        """The directory, where there is one."""
        total = 0 if self.waiting is None else 1
        return Examined(total, total, "mail queue")


@measurement(seconds=0.1)
def mail_queue(context: Context) -> MailQueue:
    """Count the files in the directory of the option mail_queue_dir."""
    directory = context.instance.directory("mail_queue_dir")
    if directory is None:
        return MailQueue(None)
    try:
        return MailQueue(len(os.listdir(directory)))
    except OSError as error:
        raise NotMeasured(f"mail_queue_dir: {error.strerror}") from None


@check(
    "QUEUE001",
    "mail-queue",
    "Mails that wait",
    area="mail",
    measures=(mail_queue,),
    threshold=f"{MANY} mails",
    source="our judgement",
)
def mails_waiting(queue: MailQueue) -> Iterator[Finding]:
    """A long queue is a mail server that does not answer."""
    if queue.waiting is None:
        return
    yield Finding(
        Severity.warning if queue.waiting > MANY else Severity.ok,
        f"{queue.waiting} mails wait to be sent",
        evidence={"waiting": queue.waiting},
        remedy="read the log of the mail server",
    )
