"""Who serves static files: the real application, built or not, and web servers with and without."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path
from typing import Callable, Iterator, Mapping

import pytest
from carry_out import carry_out
from environment import BIN

from kallithea_tune.app.package import package_directory
from kallithea_tune.app.page_assets import Asset, files_of
from kallithea_tune.config.instance import load
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.serving.static_files import OutsideFiles, StaticFiles, addresses_of
from kallithea_tune.perf_check.serving.static_files_checks import (
    judge_built,
    judge_outside,
    judge_serving,
    missing,
    served_files,
)

HERE = {"/css/style.css": Asset(200, 0.5, None), "/js/base.js": Asset(200, 0.3, None)}
GONE = {**HERE, "/js/jquery.min.js": Asset(404, 9.0, None)}


def outside(files: Mapping[str, Asset], place: str, requested: bool) -> OutsideFiles:
    return OutsideFiles(place, requested, {path: file.status for path, file in files.items()})


def test_what_is_missing_is_counted() -> None:
    finding = judge_built(3, missing(GONE), "build it")
    assert (finding.severity, finding.remedy) == (Severity.error, "build it")
    assert finding.diagnosis == "the front-end is not built: pages lack /js/jquery.min.js"
    assert judge_built(2, missing(HERE), "build it").severity is Severity.ok


@pytest.mark.parametrize(
    "ms, off, severity, words",
    [
        (1.0, False, Severity.ok, ""),
        (1.0, True, Severity.advice, "serve_static = false"),
        (200.0, False, Severity.advice, "static-export"),
    ],
)
def test_serving_by_the_application(ms: float, off: bool, severity: Severity, words: str) -> None:
    finding = judge_serving({"/css/style.css": Asset(200, ms, None)}, off)
    assert finding.severity is severity and words in finding.remedy


def test_serving_by_somebody_else() -> None:
    assert judge_outside(outside(HERE, "http://x", True), "").confidence == "high"
    untried = judge_outside(outside(HERE, "/srv/static", False), "")
    assert untried.severity is Severity.ok and untried.confidence == "low"
    finding = judge_outside(outside(GONE, "http://x", True), "")
    assert finding.severity is Severity.error and "http://x/js/jquery.min.js" in finding.diagnosis


def test_a_web_server_that_does_not_answer_is_reported_after_what_is_known() -> None:
    off = {"/css/style.css": Asset(404, 0.5, exists=True)}
    findings = iter(served_files.judge(StaticFiles(off, False, failure="x.org does not answer")))
    assert next(findings).subject == "front-end"
    with pytest.raises(NotMeasured, match="x.org does not answer"):
        next(findings)


@pytest.mark.parametrize(
    "canonical, path, requested",
    [
        ("https://x.org", "/css/a.css", ("https://x.org", "/css/a.css")),
        ("https://u:p@x.org:8443/", "/css/a.css", ("https://x.org:8443", "/css/a.css")),
        # With PasteDeploy's prefix filter the links have the prefix; with a web server's own they
        # have not.
        ("https://x.org/repos", "/repos/css/a.css", ("https://x.org", "/repos/css/a.css")),
        ("https://x.org/repos/", "/css/a.css", ("https://x.org", "/repos/css/a.css")),
    ],
)
def test_addresses(canonical: str, path: str, requested: tuple[str, str]) -> None:
    server, addresses = addresses_of(canonical, [path])
    assert (server, addresses[path]) == requested


def test_the_files_of_a_page() -> None:
    page = """<link rel="icon" href="/i.ico"><link href='css/a.css?ver=1' rel=stylesheet>
        <link rel="alternate" href="/f">
        <script src="/js/a.js?ver=1&amp;x"></script><script>var src="/no.js"</script>
        <a href="/page">x</a>
        <img src="//elsewhere.org/x.png"><img src="/i.ico"><img src="data:image/png;base64,xx">"""
    assert files_of(page, "/group/repo") == ["/i.ico", "/group/css/a.css", "/js/a.js"]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the real Kallithea in tmp_path/site, whose front-end is as if it had been built."""
    real = Path(package_directory())
    copy = tmp_path / "site" / "kallithea"
    shutil.copytree(str(real), str(copy), ignore=shutil.ignore_patterns("node_modules", "tests"))
    for name in (
        "css/style.css",
        "js/jquery.min.js",
        "js/jquery.dataTables.js",
        "js/dataTables.bootstrap.js",
        "js/bootstrap.js",
        "js/select2.js",
        "js/jquery.caret.min.js",
        "js/jquery.atwho.min.js",
    ):
        (copy / "public" / name).touch()
    return copy


Run = Callable[[], Mapping[str, Finding]]
Edit = Callable[[Path, str, str], None]


@pytest.fixture
def findings(package: Path, instance: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the check with that package and return its findings by subject."""
    path = os.pathsep.join(filter(None, [str(package.parent), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("PYTHONPATH", path)
    return lambda: {
        item.subject: item
        for item in served_files.findings(Context(load(str(instance)), Deadline(120)))
    }


def severities(findings: Mapping[str, Finding]) -> Mapping[str, str]:
    return {subject: item.severity.name for subject, item in findings.items()}


@pytest.mark.once
def test_the_application_serves_until_the_setting_that_works_says_no(
    findings: Run, instance: Path, package: Path, edit: Edit
) -> None:
    assert severities(findings()) == {"front-end": "ok", "server": "ok"}
    edit(instance, "static_files = true", "static_files = false")
    seen = findings()
    assert severities(seen) == {"front-end": "ok", "server": "advice"}
    assert seen["server"].diagnosis.startswith("static_files = false has no effect")
    edit(instance, "static_files = false", "serve_static = false")
    assert severities(findings()) == {"front-end": "ok", "server": "unknown"}
    (package / "public" / "css" / "style.css").unlink()
    assert severities(findings()) == {"front-end": "error", "server": "unknown"}


def test_a_front_end_that_is_not_built(findings: Run, package: Path) -> None:
    for name in ("css/style.css", "js/jquery.min.js"):
        (package / "public" / name).unlink()
    seen = findings()
    assert severities(seen) == {"front-end": "error", "server": "ok"}
    assert seen["front-end"].evidence["missing"] == 2
    # Building takes minutes and the Internet, so it is not carried out here.
    assert str(seen["front-end"].remedy).endswith(f"{BIN / 'kallithea-cli'} front-end-build")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def web_server(package: Path) -> Iterator[str]:
    """A web server that serves the package's static files; its URL."""
    handler = functools.partial(Quiet, directory=str(package / "public"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.once
def test_the_web_server_is_asked_where_the_application_serves_nothing(
    findings: Run, instance: Path, package: Path, edit: Edit, web_server: str
) -> None:
    edit(instance, "static_files = true", f"serve_static = false\ncanonical_url = {web_server}")
    assert severities(findings()) == {"front-end": "ok", "server": "ok"}
    edit(instance, web_server, web_server + "/elsewhere")
    seen = findings()
    assert severities(seen) == {"front-end": "ok", "server": "error"}
    carry_out(seen["server"].remedy, instance)
    assert severities(findings()) == {"front-end": "ok", "server": "ok"}
    edit(instance, "serve_static = true", "serve_static = false")
    edit(instance, web_server + "/elsewhere", "http://127.0.0.1:1")
    with pytest.raises(NotMeasured, match="127.0.0.1:1 does not answer"):
        findings()


@pytest.mark.once
def test_the_static_export_that_the_ini_file_names_is_looked_into(
    findings: Run, instance: Path, package: Path, edit: Edit
) -> None:
    edit(instance, "static_files = true", "serve_static = false")
    with instance.open("a") as file:
        file.write("\n[kallithea_tune]\nstatic_export = published\n")
    assert severities(findings()) == {"front-end": "ok", "server": "error"}
    shutil.copytree(str(package / "public"), str(instance.parent / "published"))
    seen = findings()
    assert (
        severities(seen) == {"front-end": "ok", "server": "ok"}
        and "was not tried" in seen["server"].diagnosis
    )


def test_links_below_a_prefix_are_asked_for_below_it(
    findings: Run, instance: Path, edit: Edit
) -> None:
    edit(
        instance,
        "#[filter:proxy-prefix]\n#use = egg:PasteDeploy#prefix\n#prefix = /<your-prefix>",
        "[filter:proxy-prefix]\nuse = egg:PasteDeploy#prefix\nprefix = /repos",
    )
    edit(instance, "#filter-with = proxy-prefix", "filter-with = proxy-prefix")
    assert severities(findings()) == {"front-end": "ok", "server": "ok"}
