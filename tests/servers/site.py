"""Small sites: files of Kallithea's kinds, published and served by a web server with what is
written for it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Callable

from servers.server import Server
from servers.web import WebServer

from kallithea_tune.static_export.release import publish
from kallithea_tune.static_export.release.manifest import Manifest, Recipe
from kallithea_tune.static_export.release.plan import Served, make
from kallithea_tune.static_export.sources.collect import collect
from kallithea_tune.static_export.webservers import render, render_script
from kallithea_tune.static_export.webservers.site import Backend, Site

CODINGS = ["gzip", "br"]


def write_public(root: Path) -> Path:
    """Write files of the kinds that Kallithea serves."""
    for name, text in {
        "css/style.css": "body { color: black }\n" * 400,
        "css/style.css.map": "{}" * 400,
        "js/base.js": "function f() {}\n" * 500,
        "js/tiny.js": "1",
        "codemirror/mode/py/py.js": "var x;\n" * 300,
        "images/logo.svg": "<svg xmlns='http://www.w3.org/2000/svg'/>\n" * 50,
        "LICENSES.txt": "GPL\n" * 300,
        "fontello/fontello.eot": "e" * 500,
        "images/a b+c.svg": "<svg xmlns='http://www.w3.org/2000/svg'/>\n" * 50,
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "images" / "pixel.png").write_bytes(b"\x89PNG\r\n\x1a\n" + os.urandom(300))
    return root


def site_for(server: WebServer, release: Manifest, application: Server, **more: Any) -> Site:
    """Describe the site of a release that `server` serves in front of `application`."""
    return Site(
        root=str(server.static),
        directories=sorted({path.split("/")[0] for path in release.files if "/" in path}),
        files=sorted(path for path in release.files if "/" not in path),
        codings=CODINGS,
        name="localhost",
        backends=[Backend.from_url("http://127.0.0.1:%d" % application.port)],
        port=server.port,
        script=str(server.conf) + ".lua" if server.name == "lighttpd" else "",
        **more,
    )


def export(server: WebServer, public: Path) -> Manifest:
    """Publish a directory where `server` serves from."""
    files = collect([str(public)], {})
    served = Served("kallithea", "0.7.0", (str(public),), files, proven=files)
    return publish.publish(make(None, served, Recipe(codings=tuple(CODINGS))), str(server.static))


def started(
    name: str,
    public: Path,
    application: Server,
    change: Callable[[str], str] = str,
    kind: type[WebServer] = WebServer,
    **more: Any,
) -> tuple[WebServer, Manifest]:
    """Start a web server with what is written for it; `change` may spoil the text before."""
    server = kind(name)
    try:
        release = export(server, public)
        site = site_for(server, release, application, **more)
        server.scheme = "https" if site.tls else "http"
        server.conf.write_text(change(render(name, site, False)))
        script = render_script(name, site)
        if script:
            Path(site.script).write_text(script)
        server.configured()
        server.start()
    except BaseException:
        server.remove()
        raise
    return server, release
