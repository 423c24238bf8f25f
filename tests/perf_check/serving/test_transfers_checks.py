"""Clones through filters that compress and hold back, and through those that do not: the real
application.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any, Callable, Mapping

import pytest

from kallithea_tune.app import vcs_transfer
from kallithea_tune.config.instance import load
from kallithea_tune.perf_check.measurement import Context, Deadline
from kallithea_tune.perf_check.model import Finding, Severity
from kallithea_tune.perf_check.serving.transfers_checks import judge_clone, transfers

STREAMED = {
    "status": 200,
    "size": 1 << 20,
    "held": 1,
    "whole": False,
    "read": 0,
    "made": "",
    "came": "",
}


@pytest.mark.parametrize(
    "changes, severity, words",
    [
        ({}, Severity.ok, ""),
        ({"whole": True, "held": 1 << 20}, Severity.error, "take egg:Paste#gzip out of the way"),
        ({"whole": True, "held": 1 << 20, "came": "gzip"}, Severity.error, "egg:Paste#gzip"),
        ({"came": "gzip"}, Severity.warning, "egg:Paste#gzip"),
        # What the application compresses itself is its own affair.
        ({"came": "gzip", "made": "gzip"}, Severity.ok, ""),
        ({"status": 401}, Severity.unknown, ""),
        ({"size": 0}, Severity.unknown, ""),
    ],
)
def test_clones(changes: Mapping[str, Any], severity: Severity, words: str) -> None:
    (found,) = judge_clone("git", {**STREAMED, **changes}, ["egg:Paste#gzip"])
    assert found.severity is severity and words in found.remedy


def test_pushes_that_are_read_before_the_application_are_told_apart() -> None:
    clone, push = judge_clone("git", {**STREAMED, "read": 99}, ["egg:Toy"])
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


@pytest.fixture
def filtered(
    instance: Path, edit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Mapping[str, Finding]]:
    """Put a filter around the application; return what the check says, by subject."""
    (tmp_path / "toy_filters.py").write_text(FILTERS)
    monkeypatch.setenv(
        "PYTHONPATH",
        os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH", "")])),
    )

    def ask(factory: str) -> Mapping[str, Finding]:
        if factory:
            edit(
                instance,
                "\n[app:main]\nuse = egg:kallithea\n",
                f"\n[filter:toy]\n{factory}\n\n[app:main]\nuse = egg:kallithea\nfilter-with = toy\n",
            )
        return {
            item.subject: item
            for item in transfers.run(Context(load(str(instance)), Deadline(120)))
        }

    return ask


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
def test_real_clones(filtered: Any, factory: str, hg: str, git: str, push: Any) -> None:
    found = filtered(factory)
    assert {name: item.severity.name for name, item in found.items()} == {
        "hg": hg,
        "git": git,
        **({"push": push} if push else {}),
    }
    if git == "error":
        assert found["git"].evidence["held_bytes"] == found["git"].evidence["of_bytes"] > 1_000_000


def test_private_repositories_are_asked_too_and_no_hook_and_no_log_row_notices(
    filtered: Any, instance: Path, tmp_path: Path
) -> None:
    with sqlite3.connect(str(instance.parent / "kallithea.db")) as connection:
        connection.execute("UPDATE users SET active = 0 WHERE username = 'default'")
        connection.execute("UPDATE repositories SET private = 1")
        for when in ("preoutgoing", "outgoing"):
            connection.execute(
                "INSERT INTO ui (ui_section, ui_key, ui_value, ui_active) VALUES ('hooks', ?, ?, 1)",
                [f"{when}.told", "touch {}".format(tmp_path / "told")],
            )
        before = connection.execute("SELECT count(*) FROM user_logs").fetchone()
    found = filtered("")
    assert {name: item.severity.name for name, item in found.items()} == {"hg": "ok", "git": "ok"}
    assert connection.execute("SELECT count(*) FROM user_logs").fetchone() == before
    connection.close()
    assert not (tmp_path / "told").exists()
