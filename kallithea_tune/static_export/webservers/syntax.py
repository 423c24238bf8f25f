"""Has a web server check the configuration written for it, where that server is installed."""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
import tempfile
from typing import Callable, Mapping, Optional

SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
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
)
NGINX_BROTLI = "/usr/lib*/nginx/modules/ngx_http_brotli_static_module.so"
MIME_TYPES = ("/etc/nginx/mime.types", "/etc/mime.types")


def program(*names: str) -> Optional[str]:
    """Return the path of the first program that is installed, in ``sbin`` directories, too."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *SBIN])
    return next(filter(None, (shutil.which(name, path=path) for name in names)), None)


def nginx(directory: str, conf: str, snippet: bool) -> str:
    """Return a whole nginx configuration around the file `conf`, everything it writes being in
    `directory`.
    """
    modules = "".join(f"load_module {path};\n" for path in sorted(glob.glob(NGINX_BROTLI)))
    temporary = "".join(
        f"{name}_temp_path {directory}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    types = f"include {MIME_TYPES[0]};\n" if os.path.exists(MIME_TYPES[0]) else ""
    inner = f"server {{ include {conf}; }}" if snippet else f"include {conf};"
    return f"{modules}pid {directory}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n{types}{temporary}access_log off;\n{inner}\n}}\n"


def apache(directory: str, conf: str, snippet: bool) -> str:
    """Return a whole Apache configuration around the file `conf`."""
    modules = next(filter(os.path.isdir, APACHE_MODULES), "modules")
    loads = "".join(
        f"LoadModule {name}_module {modules}/mod_{name}.so\n"
        for name in APACHE_NEEDS
        if os.path.exists(f"{modules}/mod_{name}.so")
    )
    types = next(filter(os.path.exists, MIME_TYPES[1:]), "/dev/null")
    inner = f"<VirtualHost *:80>\nInclude {conf}\n</VirtualHost>" if snippet else f"Include {conf}"
    return (
        f"ServerRoot {directory}\nServerName localhost\nDefaultRuntimeDir {directory}\nPidFile {directory}/pid\nErrorLog {directory}/error.log\n{loads}"
        f"TypesConfig {types}\n<Directory />\nOptions FollowSymLinks\nRequire all denied\n</Directory>\n{inner}\n"
    )


def caddy(_directory: str, conf: str, snippet: bool) -> str:
    """Return a whole Caddyfile around the file `conf`."""
    inner = f":80 {{\nimport {conf}\n}}" if snippet else f"import {conf}"
    return f"{{\nadmin off\nauto_https off\n}}\n{inner}\n"


def lighttpd(directory: str, conf: str, snippet: bool) -> str:
    """Return a whole lighttpd configuration around the file `conf`."""
    modules = (
        'server.modules = ( "mod_access", "mod_alias", "mod_proxy", "mod_setenv", "mod_magnet" )\n'
    )
    root = f'server.document-root = "{directory}"\n'
    return '{}include "{}"\n'.format(modules + root if snippet else "", conf)


def haproxy(_directory: str, conf: str, snippet: bool) -> str:
    """Return a whole HAProxy configuration with the text of `conf`."""
    with open(conf, encoding="utf-8") as file:
        text = file.read()
    return (
        "defaults\nmode http\ntimeout connect 10s\ntimeout client 10s\ntimeout server 10s\n"
        * snippet
        + text
    )


AROUND: Mapping[str, Callable[[str, str, bool], str]] = {
    "nginx": nginx,
    "apache": apache,
    "caddy": caddy,
    "lighttpd": lighttpd,
    "haproxy": haproxy,
}
PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "nginx": ("nginx",),
    "apache": ("apache2", "httpd"),
    "caddy": ("caddy",),
    "lighttpd": ("lighttpd",),
    "haproxy": ("haproxy",),
}
ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "nginx": ("-t", "-q", "-p", "{directory}", "-c", "{main}"),
    "apache": ("-t", "-f", "{main}"),
    "caddy": ("validate", "--adapter", "caddyfile", "--config", "{main}"),
    "lighttpd": ("-t", "-f", "{main}"),
    "haproxy": ("-c", "-q", "-f", "{main}"),
}


def complaint(name: str, text: str, snippet: bool) -> Optional[str]:
    """Return what server `name` has against the configuration `text`, empty for nothing; None where
    it is not here.
    """
    found = program(*PROGRAMS.get(name, (name,)))
    if found is None or name not in AROUND:
        return None
    with tempfile.TemporaryDirectory(prefix="kallithea-tune-") as directory:
        conf, main = os.path.join(directory, "site.conf"), os.path.join(directory, "main.conf")
        with open(conf, "w", encoding="utf-8") as file:
            file.write(text)
        with open(main, "w", encoding="utf-8") as file:
            file.write(AROUND[name](directory, conf, snippet))
        words = [word.format(directory=directory, main=main) for word in ARGUMENTS[name]]
        result = subprocess.run(
            [found, *words],
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            env={
                **os.environ,
                "HOME": directory,
                "XDG_DATA_HOME": directory,
                "XDG_CONFIG_HOME": directory,
            },
        )
    said = result.stdout.decode("utf-8", "replace").strip()
    if result.returncode == 0:
        return ""
    lines = said.splitlines() or ["status %d" % result.returncode]
    # What stands in front of the last line's "test failed" says why.
    return next((line for line in lines if re.search("emerg|rror|ALERT", line)), lines[-1])
