"""The mail server, and who waits for it: requests, or Celery's workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Optional

from kallithea_tune.config.instance import as_bool
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Context, Examined, measurement
from kallithea_tune.perf_check.services.servers import (
    Protocol,
    Reply,
    Security,
    Server,
    replies_of,
)


@dataclass(frozen=True)
class MailServer:
    """The reply of the mail server, None where the ini file has none.

    `in_requests` is whether requests send mails, without Celery; `errors` whether they send one for
    each error 500, which they do with Celery, too.
    """

    server: Optional[Server] = None
    reply: Reply = Reply()
    in_requests: bool = True
    errors: bool = False

    @property
    def examined(self) -> Examined:
        """The mail server, where there is one."""
        there = int(self.server is not None)
        return Examined(there, there, "mail server")


@measurement(seconds=1.0)
def mail_server(context: Context) -> MailServer:
    """Connect to ``smtp_server`` up to the end of EHLO, and of STARTTLS; no mail is sent."""
    settings = context.instance.settings
    server = server_of(settings)
    if not server:
        return MailServer()
    (reply,) = replies_of([server])
    # kallithea/config/app_cfg.py: TurboGears2's error reporter, whose options are these.
    addresses = ("trace_errors.error_email", "trace_errors.from_address")
    errors = all(settings.get(name, "").strip() for name in addresses)
    return MailServer(server, reply, not as_bool(settings.get("use_celery", "")), errors)


def server_of(settings: Mapping[str, str]) -> Optional[Server]:
    """Return the mail server as Kallithea reads it (kallithea/model/notification.py, send_email).

    Raises NotMeasured for a port that is no number.
    """
    host = settings.get("smtp_server", "").strip()
    if not host:
        return None
    security = Security.none
    if as_bool(settings.get("smtp_use_ssl", "")):
        security = Security.at_once
    elif as_bool(settings.get("smtp_use_tls", "")):
        security = Security.on_request
    # Python's smtplib takes the port from HOST:PORT where there is no other.
    host, _, behind = host.partition(":") if host.count(":") == 1 else (host, "", "")
    port = settings.get("smtp_port", "").strip() or behind or "0"
    if not port.isdigit():
        raise NotMeasured(f"smtp_port is not a number: {port}")
    standard = 465 if security is Security.at_once else 25
    return Server(Protocol.smtp, host, int(port) or standard, security)
