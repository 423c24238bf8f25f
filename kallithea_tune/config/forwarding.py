"""What the ini file lacks for the application to believe its web server, and nobody else."""

from __future__ import annotations

from typing import Mapping

from kallithea_tune.config.instance import Instance, as_bool
from kallithea_tune.config.wsgi_server import server_of

PREFIX_FILTER = "#prefix"
TRANSLATES = "translate_forwarded_server"
# waitress reads each header of its proxy only where it is set so, and passes the others on.
TRUST = {
    "trusted_proxy": "127.0.0.1",
    "trusted_proxy_headers": "x-forwarded-for x-forwarded-proto",
}
# Of X-Forwarded-Host, Kallithea's routes make complete links, whatever the filter does.
CLEAR = {"clear_untrusted_proxy_headers": "true"}
# gunicorn itself reads the scheme, from 127.0.0.1 only.
GUNICORN = {"remote_addr_variable": "HTTP_X_FORWARDED_FOR"}


def lacking(instance: Instance) -> Mapping[str, Mapping[str, str]]:
    """Return the options by section that PasteDeploy's prefix filter needs to believe no client.

    Unless set otherwise, it takes host and scheme for links and redirects from headers that
    anybody can send. It is also where the scheme and the address of clients come from, which the
    server has to read then. Empty where nothing is lacking, and where only the admin knows: the
    filter, or the server, is set up elsewhere.
    """
    filters = [
        name
        for name, options in instance.sections.items()
        if name.startswith("filter:")
        and options in instance.filters
        and options["use"].endswith(PREFIX_FILTER)
        and as_bool(options.get(TRANSLATES, "true"))
    ]
    server = server_of(instance)
    if not filters or server.kind not in ("waitress", "gunicorn"):
        return {}
    options: dict[str, Mapping[str, str]] = {name: {TRANSLATES: "false"} for name in filters}
    if server.kind == "waitress":
        lacked = {} if server.options.get("trusted_proxy") else TRUST
        cleared = as_bool(server.options.get(next(iter(CLEAR)), "false"))
        lacked = lacked if cleared else {**lacked, **CLEAR}
        if lacked:
            options[server.ini_section] = lacked
    name = next(iter(GUNICORN))
    if server.kind == "gunicorn" and instance.section and not instance.settings.get(name):
        options[instance.section] = GUNICORN
    return options
