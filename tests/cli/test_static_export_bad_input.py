"""Wrong arguments of static-export are reported in one sentence, before anything is done."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from environment import BIN
from terminal import on_terminal


@pytest.mark.parametrize(
    "words, status, sentence",
    [
        ([], 2, "give the ini file and the destination"),
        (["/"], 3, "cannot be published to"),
        (["{home}"], 3, "cannot be published to"),
        (["{here}/foreign"], 3, "files that static-export did not create"),
        (["{here}/none/x"], 2, "none does not exist; create it first"),
        (["{package}/templates/x"], 3, "is inside the other"),
        (["{here}/x", "--compress", "lzma"], 2, "no coding 'lzma'"),
        (["{here}/x", "--overlay", "{here}/none"], 2, "none cannot be read: No such file"),
        (
            ["{here}/x", "--overlay", "{here}/foreign/file"],
            2,
            "file cannot be read: Not a directory",
        ),
        (["{here}/foreign/x", "--overlay", "{here}/foreign"], 3, "is inside the other"),
        (["{here}/x", "--how", "move"], 2, "invalid choice: 'move'"),
        (["{here}/x", "--mode", "888"], 2, "octal mode"),
        (["{here}/x", "--mode", "666"], 2, "octal mode"),
        (["{here}/x", "--keep", "-1"], 2, "whole number"),
        (["{here}/x", "--keep", "many"], 2, "whole number"),
        (["{here}/x", "--group", "no-such-group"], 2, "no such group"),
        (["{here}/x", "--web-user", "no-such-user"], 2, "no such user"),
        (["{here}/x", "--server", "iis"], 2, "invalid choice: 'iis'"),
        (["{here}/x", "--server", "nginx", "--port", "65536"], 2, "port from 1 to 65535"),
        (["{here}/x", "--server", "nginx", "--backend", "nowhere"], 2, "--backend nowhere"),
        (["{here}/x", "--server", "nginx", "--vcs-backend", "ftp://x"], 2, "--vcs-backend ftp://x"),
        (
            ["{here}/x", "--server", "nginx", "-o", "{here}/none/site.conf"],
            2,
            "--output .*none/site.conf",
        ),
        (["{here}/x", "--server", "nginx", "-o", "{here}/foreign"], 2, "--output .*foreign"),
        (["{here}/x", "-o", "{here}/site.conf"], 2, "choose it with --server"),
        (["{here}/x", "--verify", "ftp://example.com"], 2, "--verify ftp://example.com"),
        (["{here}/x", "--verify", "http://127.0.0.1:1", "--dry-run"], 2, "--dry-run"),
        (["{here}/x", "--check", "--switch"], 2, "--check only compares"),
        (
            ["{here}/x", "-f", "json", "--column", "colour"],
            2,
            "no column 'colour'; the columns are kind, path, said",
        ),
        (["{here}/x", "-f", "xml"], 2, "invalid choice: 'xml'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_done(
    gearbox, instance, tmp_path, words, status, sentence
):
    from kallithea_tune.app.package import package_directory

    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "file").write_text("theirs")
    places = {
        "home": os.path.expanduser("~"),
        "here": tmp_path,
        "package": package_directory(),
    }
    result = gearbox(
        "static-export",
        "-c",
        instance,
        *(word.format(**places) for word in words),
        cwd=str(tmp_path),
    )
    last = result.stderr.strip().splitlines()[-1]
    assert result.returncode == status, result.stderr
    assert re.search(sentence, last) and "Traceback" not in result.stderr and not result.stdout
    assert sorted(os.listdir(str(tmp_path))) == ["foreign", "instance"]
    assert os.listdir(str(tmp_path / "foreign")) == ["file"]


def test_a_web_server_that_does_not_answer_is_told(export):
    result = export("--verify", "http://127.0.0.1:1")
    assert result.returncode == 2 and re.search("cannot be reached|does not answer", result.stderr)


def test_a_missing_compressor_is_told_with_what_brings_it(export, tmp_path):
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "brotli.py").write_text("raise ImportError('no brotli')\n")
    path = os.pathsep.join(
        filter(None, [str(tmp_path / "without"), os.environ.get("PYTHONPATH", "")])
    )
    result = export("--compress", "gzip,br", env={**os.environ, "PYTHONPATH": path})
    assert result.returncode == 2 and "pip install 'kallithea-tune[compress]'" in result.stderr
    assert len(result.stderr.splitlines()) == 1 and not (tmp_path / "static").exists()


def test_a_place_without_permission_is_told(instance, front_end, tmp_path, without_privileges):
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    if os.getuid() == 0:
        os.chown(str(closed), 65534, 65534)
    result = subprocess.run(
        [
            *without_privileges,
            str(BIN / "gearbox"),
            "static-export",
            "-c",
            str(instance),
            str(closed / "static"),
            "--overlay",
            str(front_end),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    assert result.returncode == 2 and "Permission denied" in result.stderr.splitlines()[-1], (
        result.stderr
    )
    assert os.listdir(str(closed)) == []


def test_web_user_refuses_what_that_user_could_not_read(export, tmp_path):
    (tmp_path).chmod(0o700)
    result = export("--web-user", "nobody")
    assert (
        result.returncode == 3
        and "nobody could not read" in result.stderr
        and "(mode 700)" in result.stderr
    )
    assert not (tmp_path / "static").exists()


def test_ctrl_c_in_the_middle_ends_with_130_and_nothing_half(instance, front_end, tmp_path):
    process = subprocess.Popen(
        [
            str(BIN / "gearbox"),
            "static-export",
            "-c",
            str(instance),
            str(tmp_path / "static"),
            "--overlay",
            str(front_end),
            "--compress",
            "br,zstd",
        ],
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    holder = tmp_path / "static.releases"
    while process.poll() is None and not (
        holder.exists() and any(".staging" in name for name in os.listdir(holder))
    ):
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=120)
    assert (
        process.returncode == 130
        and message.splitlines()[-1] == "gearbox static-export: interrupted"
    )
    assert not holder.exists() and not (tmp_path / "static").exists()


def test_quiet_says_nothing_and_machines_get_one_document(export, tmp_path):
    import json

    (tmp_path / "theme").mkdir()
    (tmp_path / "theme" / "robots.txt").write_text("User-agent: *\n")
    first = export("--overlay", tmp_path / "theme", "-f", "json")
    assert first.returncode == 0 and not first.stderr
    rows = json.loads(first.stdout)
    assert {row["kind"] for row in rows} >= {"new", "overlay", "compress", "published"}
    assert [row["path"] for row in rows if row["kind"] == "overlay"][-1] == "robots.txt"
    assert [row["path"] for row in rows if row["kind"] == "new" and "base.js" in row["path"]] == [
        "js/base.js"
    ]
    again = export("--overlay", tmp_path / "theme", "-f", "csv", "--column", "path")
    assert "js/base.js" not in again.stdout.splitlines()
    quiet = export("--overlay", tmp_path / "theme", "--check", before=["-q"])
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


def test_on_a_terminal_it_shows_what_it_does_within_80_columns(instance, front_end, tmp_path):
    status, drawn, _ = on_terminal(
        [
            BIN / "gearbox",
            "static-export",
            "-c",
            instance,
            tmp_path / "static",
            "--overlay",
            front_end,
        ]
    )
    assert status == 0
    lines = re.split(r"[\r\n]+|\x1b\[K", drawn)
    assert any("querying the application" in line for line in lines) and any(
        "compressing" in line for line in lines
    )
    assert all(
        len(line) <= 80 or str(tmp_path) in line or Path(str(front_end)).name in line
        for line in lines
    )


def test_no_secret_is_in_what_is_shown_or_written(export, instance, edit, tmp_path):
    edit(instance, "[app:main]\n", "[app:main]\nsmtp_password = hunter2-mail\n")
    shown = export("--switch", "--server", "nginx", "-o", tmp_path / "site.conf")
    assert shown.returncode == 0, shown.stderr
    written = [
        path.read_text()
        for path in (tmp_path / "site.conf", tmp_path / "static" / ".kallithea-tune.json")
    ]
    of_the_template = re.findall(
        r"^(?:session\.secret|app_instance_uuid) = (\S+)", instance.read_text(), re.M
    )
    secrets = ["hunter2-mail", *of_the_template]
    assert len(secrets) == 3
    for secret in secrets:
        assert not any(secret in text for text in (shown.stdout, shown.stderr, *written))
