"""Has a web server check the configuration written for it, where that server is installed."""

from __future__ import annotations

import glob
import os
import re
import tempfile
from dataclasses import dataclass
from typing import Callable, Optional

from kallithea_tune.errors import NotMeasured
from kallithea_tune.system import programs

SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
SECONDS = 60.0
APACHE_MODULES = ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/lib/httpd/modules")
APACHE_NEEDS = (
    "mpm_event",
    "authz_core",
    "alias",
    "headers",
    "mime",
    "proxy",
    "proxy_http",
    "rewrite",
    "setenvif",
    "env",
    "slotmem_shm",
    "proxy_balancer",
    "lbmethod_byrequests",
    "watchdog",
    "proxy_hcheck",
    "unixd",
    "deflate",
    "filter",
    "socache_shmcb",
    "ssl",
    "http2",
)
NGINX_BROTLI = "/usr/lib*/nginx/modules/ngx_http_brotli_static_module.so"
MIME_TYPES = ("/etc/nginx/mime.types", "/etc/mime.types")


@dataclass(frozen=True)
class Check:
    """How a web server checks a configuration.

    `programs` are its possible names; `arguments` those of the check, with ``{main}`` for the
    configuration and ``{directory}`` for a temporary directory. `wrap` returns a complete
    configuration that includes the file `conf`, or a snippet inside a site, and writes to
    `directory` only.
    """

    programs: tuple[str, ...]
    arguments: tuple[str, ...]
    wrap: Callable[[str, str, bool], str]


def _nginx(directory: str, conf: str, snippet: bool) -> str:
    """Return a complete nginx configuration around the file `conf`."""
    modules = "".join(f"load_module {path};\n" for path in sorted(glob.glob(NGINX_BROTLI)))
    temporary = "".join(
        f"{name}_temp_path {directory}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    types = f"include {MIME_TYPES[0]};\n" if os.path.exists(MIME_TYPES[0]) else ""
    inner = f"server {{ include {conf}; }}" if snippet else f"include {conf};"
    return (
        f"{modules}pid {directory}/pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\n{types}{temporary}access_log off;\n{inner}\n}}\n"
    )


def _apache(directory: str, conf: str, snippet: bool) -> str:
    """Return a complete Apache configuration around the file `conf`."""
    modules = next(filter(os.path.isdir, APACHE_MODULES), "modules")
    loads = "".join(
        f"LoadModule {name}_module {modules}/mod_{name}.so\n"
        for name in APACHE_NEEDS
        if os.path.exists(f"{modules}/mod_{name}.so")
    )
    types = next(filter(os.path.exists, MIME_TYPES[1:]), "/dev/null")
    inner = f"<VirtualHost *:80>\nInclude {conf}\n</VirtualHost>" if snippet else f"Include {conf}"
    return (
        f"ServerRoot {directory}\nServerName localhost\nDefaultRuntimeDir {directory}\n"
        f"PidFile {directory}/pid\nErrorLog {directory}/error.log\n{loads}TypesConfig {types}\n"
        "<Directory />\nOptions FollowSymLinks\nRequire all denied\n</Directory>\n"
        f"{inner}\n"
    )


def _caddy(_directory: str, conf: str, snippet: bool) -> str:
    """Return a complete Caddyfile around the file `conf`."""
    inner = f":80 {{\n\timport {conf}\n}}" if snippet else f"import {conf}"
    # Later than 2.11.4, Caddy reads headers of 16 KB without the last of these options.
    options = "\tadmin off\n\tauto_https off\n\tservers {\n\t\tmax_header_size 1MB\n\t}\n"
    return f"{{\n{options}}}\n\n{inner}\n"


def _lighttpd(directory: str, conf: str, snippet: bool) -> str:
    """Return a complete lighttpd configuration around the file `conf`."""
    modules = 'server.modules = ( "mod_access", "mod_magnet", "mod_proxy" )\n'
    root = f'server.document-root = "{directory}"\n'
    return (modules + root if snippet else "") + f'include "{conf}"\n'


def _haproxy(_directory: str, conf: str, snippet: bool) -> str:
    """Return a complete HAProxy configuration with the text of `conf`."""
    with open(conf, encoding="utf-8") as file:
        text = file.read()
    defaults = "defaults\nmode http\ntimeout connect 10s\ntimeout client 10s\ntimeout server 10s\n"
    return (defaults if snippet else "") + text


NGINX = Check(("nginx",), ("-t", "-q", "-p", "{directory}", "-c", "{main}"), _nginx)
APACHE = Check(("apache2", "httpd"), ("-t", "-f", "{main}"), _apache)
CADDY = Check(("caddy",), ("validate", "--adapter", "caddyfile", "--config", "{main}"), _caddy)
LIGHTTPD = Check(("lighttpd",), ("-t", "-f", "{main}"), _lighttpd)
HAPROXY = Check(("haproxy",), ("-c", "-q", "-f", "{main}"), _haproxy)


def complaint(check: Optional[Check], text: str, snippet: bool) -> Optional[str]:
    """Return the server's error message for the configuration `text`, empty when it accepts it.

    None where the server is not installed, or has no check.
    """
    installed = programs.program(*check.programs, directories=SBIN) if check else None
    if check is None or installed is None:
        return None
    with tempfile.TemporaryDirectory(prefix="kallithea-tune-") as directory:
        conf, main = os.path.join(directory, "site.conf"), os.path.join(directory, "main.conf")
        with open(conf, "w", encoding="utf-8") as file:
            file.write(text)
        with open(main, "w", encoding="utf-8") as file:
            file.write(check.wrap(directory, conf, snippet))
        arguments = [arg.format(directory=directory, main=main) for arg in check.arguments]
        home = dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), directory)
        try:
            result = programs.run([installed, *arguments], SECONDS, directory, home)
        except (programs.TooLate, NotMeasured) as error:
            return f"{installed}: {error}"
    if result.status == 0:
        return ""
    lines = (result.output + result.errors).decode("utf-8", "replace").strip().splitlines()
    lines = lines or [f"status {result.status}"]
    # The last line is only "test failed"; an earlier one gives the reason, and Apache's the next.
    for line, following in zip(lines, [*lines[1:], ""]):
        if re.search("emerg|rror|ALERT", line):
            return f"{line} {following}".strip() if line.endswith(":") else line
    return lines[-1]
