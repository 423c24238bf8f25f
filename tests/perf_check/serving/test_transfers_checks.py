"""Clones of the real application, through filters that compress or hold back, and without them."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Callable, Mapping, Optional

import pytest
from carry_out import carry_out

from kallithea_tune.app import vcs_transfer
from kallithea_tune.app.vcs_transfer import Transfer
from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.serving.transfers_checks import (
    claims,
    judge_claims,
    judge_clone,
    judge_push,
    transfers,
)

STREAMED = Transfer(
    status=200, own_encoding="", encoding="", buffered=1, complete=False, read_ahead=0, size=1 << 20
)


@pytest.mark.parametrize(
    "transfer, severity, remedy",
    [
        (STREAMED, Severity.ok, ""),
        (
            replace(STREAMED, complete=True, buffered=1 << 20),
            Severity.error,
            "keep egg:Paste#gzip away from clones",
        ),
        (
            replace(STREAMED, complete=True, buffered=1 << 20, encoding="gzip"),
            Severity.error,
            "egg:Paste#gzip",
        ),
        (replace(STREAMED, encoding="gzip"), Severity.warning, "egg:Paste#gzip"),
        # What the application compresses itself is its own affair.
        (replace(STREAMED, encoding="gzip", own_encoding="gzip"), Severity.ok, ""),
        (replace(STREAMED, status=401), Severity.unknown, ""),
        (replace(STREAMED, size=0), Severity.unknown, ""),
    ],
)
def test_clones(transfer: Transfer, severity: Severity, remedy: str) -> None:
    finding = judge_clone("git", transfer, ["egg:Paste#gzip"])
    assert finding.severity is severity and remedy in finding.remedy
    assert not list(judge_push(transfer, ["egg:Paste#gzip"]))


def test_pushes_that_are_read_before_the_application_are_reported() -> None:
    observed = replace(STREAMED, read_ahead=99)
    clone = judge_clone("git", observed, ["egg:Toy"])
    (push,) = judge_push(observed, ["egg:Toy"])
    assert (clone.severity, push.severity, push.subject) == (Severity.ok, Severity.warning, "push")


def _through(tap: vcs_transfer.Tap, *chunks: bytes) -> list[bytes]:
    return list(tap._through(iter(chunks)))


def test_the_tap_fills_short_answers_up_and_cuts_long_ones() -> None:
    tap = vcs_transfer.Tap()
    assert (
        sum(map(len, _through(tap, b"", b"short"))) == tap.size == vcs_transfer.LIMIT and tap.ended
    )
    tap = vcs_transfer.Tap()
    got = _through(tap, *[b"x" * 300_000] * 1000)
    assert (
        vcs_transfer.LIMIT
        <= sum(map(len, got))
        == tap.size
        < vcs_transfer.LIMIT + vcs_transfer.BLOCK
    )
    assert max(map(len, got)) == vcs_transfer.BLOCK


FILTERS = '''
def hold(app, global_conf):
    """Read the body and keep the whole answer, as careless middleware does."""
    import io

    def held(environ, start_response):
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read())
        return [b"".join(app(environ, start_response))]

    return held


def squeeze(app, global_conf):
    """Compress whatever comes, as it comes."""
    import zlib

    def squeezed(environ, start_response):
        def start(status, headers, exc_info=None):
            kept = [item for item in headers if item[0].lower() != "content-length"]
            return start_response(status, kept + [("Content-Encoding", "deflate")], exc_info)

        packer = zlib.compressobj()
        for chunk in app(environ, start):
            yield packer.compress(chunk) + packer.flush(zlib.Z_SYNC_FLUSH)
        yield packer.flush()

    return squeezed
'''


Filtered = Callable[[str], Mapping[str, Finding]]


@pytest.fixture
def filtered(
    instance: Path,
    edit: Callable[[Path, str, str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Filtered:
    """Put a filter around the application and return the findings of the check by subject."""
    (tmp_path / "toy_filters.py").write_text(FILTERS)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("PYTHONPATH", path)

    def run(factory: str) -> Mapping[str, Finding]:
        if factory:
            edit(
                instance,
                "\n[app:main]\nuse = egg:kallithea\n",
                f"\n[filter:toy]\n{factory}\n\n"
                "[app:main]\nuse = egg:kallithea\nfilter-with = toy\n",
            )
        context = Context(load(str(instance)), Deadline(120))
        return {item.subject: item for item in transfers.findings(context)}

    return run


@pytest.mark.parametrize(
    "factory, hg, git, push",
    [
        # The guide says that serving static files buffers clones: in 0.7.0 nothing of Kallithea's
        # own does.
        ("", "ok", "ok", None),
        # Mercurial's client asks for no encoding, Git's for gzip.
        ("use = egg:Paste#gzip", "ok", "error", None),
        ("paste.filter_app_factory = toy_filters:hold", "error", "error", "warning"),
        ("paste.filter_app_factory = toy_filters:squeeze", "warning", "warning", None),
    ],
)
def test_real_clones(
    instance: Path, filtered: Filtered, factory: str, hg: str, git: str, push: Optional[str]
) -> None:
    findings = filtered(factory)
    assert {name: item.severity.name for name, item in findings.items()} == {
        "hg": hg,
        "git": git,
        **({"push": push} if push else {}),
    }
    if git == "error":
        assert (
            findings["git"].evidence["held_bytes"]
            == findings["git"].evidence["of_bytes"]
            > 1_000_000
        )
    if push:
        carry_out(findings["push"].remedy, instance)
        assert {item.severity for item in filtered("").values()} == {Severity.ok}


def test_private_repositories_are_asked_too_and_no_hook_and_no_log_row_notices(
    filtered: Filtered, instance: Path, tmp_path: Path
) -> None:
    with sqlite3.connect(str(instance.parent / "kallithea.db")) as connection:
        connection.execute("UPDATE users SET active = 0 WHERE username = 'default'")
        connection.execute("UPDATE repositories SET private = 1")
        for when in ("preoutgoing", "outgoing"):
            connection.execute(
                "INSERT INTO ui (ui_section, ui_key, ui_value, ui_active)"
                " VALUES ('hooks', ?, ?, 1)",
                [f"{when}.ran", f"touch {tmp_path / 'ran'}"],
            )
        before = connection.execute("SELECT count(*) FROM user_logs").fetchone()
    findings = filtered("")
    assert {name: item.severity.name for name, item in findings.items()} == {
        "hg": "ok",
        "git": "ok",
    }
    assert connection.execute("SELECT count(*) FROM user_logs").fetchone() == before
    connection.close()
    assert not (tmp_path / "ran").exists()


def test_a_claim_that_comes_back_is_reported() -> None:
    assert judge_claims(()).severity is Severity.ok
    finding = judge_claims(["X-Forwarded-Scheme"])
    assert finding.severity is Severity.warning and "X-Forwarded-Scheme" in finding.diagnosis
    # A filter that is set up elsewhere is changed by hand.
    assert "translate_forwarded_server = false" in str(finding.remedy)


@pytest.mark.once
def test_the_prefix_filter_believes_clients_until_the_remedy(
    instance: Path, edit: Callable[[Path, str, str], None]
) -> None:
    edit(
        instance,
        "\n[app:main]\nuse = egg:kallithea\n",
        "\n[filter:front]\nuse = egg:PasteDeploy#prefix\nprefix = /code\n\n"
        "[app:main]\nuse = egg:kallithea\nfilter-with = front\n",
    )

    def found() -> Finding:
        (finding,) = claims.findings(Context(load(str(instance)), Deadline(120)))
        return finding

    before = found()
    assert before.severity is Severity.warning
    assert before.evidence["believed"] == "X-Forwarded-Host, X-Forwarded-Server, X-Forwarded-Scheme"
    carry_out(before.remedy, instance)
    assert found().severity is Severity.ok
