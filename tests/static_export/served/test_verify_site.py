"""``--verify`` asks a real web server before a real Kallithea, and tells what is wrong there."""

from __future__ import annotations

import json

import pytest

from kallithea_tune.static_export.verify.client import Answer
from kallithea_tune.static_export.verify.crawl import KINDS, judge_asset, repositories


@pytest.fixture
def verified(static_export, exported, kallithea):
    def call(server, *words, **environment):
        result = static_export(
            "-c",
            kallithea.ini,
            exported,
            "--verify",
            server.url + kallithea.prefix,
            "-f",
            "json",
            *words,
            WHO="admin:demo-password",
            **environment,
        )
        assert (
            "Traceback" not in result.stderr
            and "demo-password" not in result.stdout + result.stderr
        )
        rows = json.loads(result.stdout) if result.stdout.strip() else []
        return result.returncode, rows, result.stderr

    return call


@pytest.mark.parametrize("name", ["apache", "caddy", "lighttpd", "nginx"])
def test_every_file_and_every_kind_of_page_is_found_good(name, verified, web_server, kallithea):
    status, rows, _ = verified(web_server(name, kallithea.ini), "--verify-login", "env:WHO")
    assert (status, [row for row in rows if row["kind"] == "problem"]) == (0, [])
    assert {row["said"] for row in rows if row["kind"] == "page"} == set(KINDS)


def test_without_a_login_it_says_which_pages_nobody_saw(verified, web_server, kallithea):
    status, rows, errors = verified(web_server("nginx", kallithea.ini))
    assert status == 0, errors
    (note,) = [
        row["said"] for row in rows if row["kind"] == "note" and "no link led to" in row["said"]
    ]
    assert "admin: settings" in note and "--verify-login" in note and "summary" not in note


def test_a_missing_file_that_a_page_needs_is_told_with_the_page(
    verified, web_server, kallithea, exported
):
    server = web_server("nginx", kallithea.ini)
    sheet = exported / "css" / "style.css"
    away, variant = sheet.with_name("away"), sheet.with_name("style.css.gz")
    content = variant.read_bytes()
    sheet.rename(away)
    variant.unlink()
    try:
        # What is damaged would be mended by the command, so the release is verified as a stranger
        # left it.
        from kallithea_tune.static_export.release import manifest
        from kallithea_tune.static_export.verify.client import Client
        from kallithea_tune.static_export.verify.crawl import Crawl

        release = manifest.read(str(exported))
        crawl = Crawl(Client(server.url + kallithea.prefix), release)
        crawl.run("")
    finally:
        away.rename(sheet)
        variant.write_bytes(content)
    assert ("/css/style.css?ver=0.7.0", "is needed by /_admin/login and answered with 404") in {
        (problem.path, problem.message) for problem in crawl.problems
    }


def test_limits_that_would_stop_hg_and_git_are_told(verified, web_server, kallithea):
    def narrow(text):
        return text.replace("large_client_header_buffers 8 64k;", "").replace(
            "client_max_body_size 0;", ""
        )

    status, rows, _ = verified(web_server("nginx", kallithea.ini, change=narrow))
    message = " ".join(row["said"] for row in rows if row["kind"] == "problem")
    assert (
        status == 1
        and "headers of 42 KB" in message
        and "a push of 2 MB is answered with 413" in message
    )


def test_a_wrong_prefix_and_the_application_itself_are_told(verified, web_server, kallithea):
    server = web_server("nginx", kallithea.ini, "--prefix", kallithea.prefix + "/elsewhere")
    status, rows, _ = verified(server)
    assert status == 1 and any(row["kind"] == "problem" for row in rows)


@pytest.mark.parametrize(
    "words, expected, sentence",
    [
        (("--verify-login", "admin:demo-passwort"), 2, "env:NAME or file:PATH"),
        (("--verify-login", "env:NOT_SET"), 2, "NOT_SET is not set"),
        # Only the running server knows, once the files are published.
        (("--verify-login", "env:WRONG"), 4, "was not logged in"),
        (("--verify-login", "env:NO_COLON"), 2, "does not contain user:password"),
    ],
)
def test_a_login_that_is_none_is_told_in_one_sentence(
    words, expected, sentence, verified, web_server, kallithea
):
    status, _, stderr = verified(
        web_server("nginx", kallithea.ini), *words, WRONG="admin:wrong-password", NO_COLON="admin"
    )
    assert (
        status == expected
        and sentence in stderr.strip().splitlines()[-1]
        and "wrong-password" not in stderr
    )


def test_an_asset_is_judged_by_its_answer():
    def judged(status=200, lasting=None, **headers):
        return list(judge_asset(Answer(status, headers, b""), lasting))

    assert judged(404) == ["answered with 404"]
    assert judged(etag='"1700000000.5-12"') == [
        "comes from the application, not from the web server"
    ]
    year, none = {"cache-control": "max-age=31536000"}, {"cache-control": "max-age=0"}
    assert judged(lasting=True, **year) == judged(lasting=False, **none) == judged() == []
    assert "may not be cached for a month" in judged(lasting=True, **none)[0]
    assert "may be used for 31536000 s without revalidation" in judged(lasting=False, **year)[0]


def test_repositories_are_known_by_their_changesets():
    node = "/changeset/" + "a" * 40
    assert repositories(["/a", "/_admin/gists", "/group/b" + node, "/c" + node, "/c" + node]) == [
        "/group/b",
        "/c",
    ]
    assert repositories(["/a/changeset/tip"]) == []
