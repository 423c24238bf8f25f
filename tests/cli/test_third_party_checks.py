"""The example of the documentation, installed as a distribution of its own, is a check like the
others.
"""

from __future__ import annotations

import json
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "mail_queue.py"


def test_the_example_is_listed_explained_run_judged_and_ranked(
    perf_check, install, instance, edit, tmp_path
):
    queue = tmp_path / "queue"
    queue.mkdir()
    edit(instance, "[app:main]\n", f"[app:main]\nmail_queue_dir = {queue}\n")
    assert perf_check("--explain", "QUEUE001").returncode == 2
    install("mail_queue", EXAMPLE.read_text())

    listed = json.loads(perf_check("--list", "-f", "json").stdout)
    assert [item["title"] for item in listed if item["check"] == "QUEUE001"] == ["Mails that wait"]
    explained = perf_check("--explain", "mail-queue").stdout
    assert "A long queue is a mail server that does not answer." in explained

    def judged():
        result = perf_check(
            "-c",
            instance,
            "--only",
            "mail",
            "--only",
            "CFG001",
            "-f",
            "json",
            "--fail-on",
            "warning",
        )
        (finding,) = [item for item in json.loads(result.stdout) if item["check"] == "QUEUE001"]
        return result.returncode, finding["severity"], finding["evidence"]

    assert judged() == (0, "ok", {"waiting": 0})
    for number in range(101):
        (queue / str(number)).touch()
    assert judged() == (1, "warning", {"waiting": 101})
    text = perf_check("-c", instance, "--only", "mail", "--only", "CFG001", "--all").stdout
    assert text.startswith("mail         warning  101 mails wait to be sent\n")
    assert text.index("QUEUE001 warning") < text.index("CFG001")
    queue.rename(tmp_path / "away")
    result = perf_check("-c", instance, "--only", "QUEUE001")
    assert (
        result.returncode == 5
        and "not measured: mail_queue_dir: No such file or directory" in result.stdout
    )


def test_a_second_check_of_the_same_id_is_refused(perf_check, install):
    install("other", EXAMPLE.read_text().replace("QUEUE001", "CFG001"))
    result = perf_check("--list")
    assert (result.returncode, result.stdout) == (2, "")
    assert (
        result.stderr
        == "gearbox perf-check: two checks share the id CFG001: serving-debug and mail-queue\n"
    )


def test_an_entry_point_may_name_one_check(perf_check, install, tmp_path):
    site = install("other", EXAMPLE.read_text())
    entry = site / "other-1.0.dist-info" / "entry_points.txt"
    entry.write_text("[kallithea_tune.checks]\nany = other:mails_waiting\n")
    assert (
        perf_check("--only", "QUEUE*", "--list", "-f", "value", "--column", "check").stdout
        == "QUEUE001\n"
    )
