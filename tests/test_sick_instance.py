"""The five things that are wrong with the sick instance are found by one run."""

from __future__ import annotations

import json

import sick_instance


def test_all_five_are_found(gearbox, instance, tmp_path):
    sick_instance.spoil_ini(instance)
    sick_instance.fill_cache(instance.parent / "data" / "cache" / "container_file", 25_000)
    sick_instance.add_loose_objects(instance.parent / "repos" / "git-one", 7_000)
    said = gearbox(
        "perf-check",
        "-c",
        instance,
        "-f",
        "json",
        "--budget",
        "60",
        "--only",
        "WEB001",
        "--only",
        "CFG001",
        "--only",
        "CFG003",
        "--only",
        "CAC003",
        "--only",
        "GIT001",
        cwd=str(tmp_path),
    )
    assert said.returncode == 1, said.stderr
    sick = [item for item in json.loads(said.stdout) if item["severity"] != "ok"]
    assert [
        item["check"]
        for item in sick
        if not (item["threshold"] and item["source"] and item["remedy"])
    ] == []
    found = {item["check"]: item["severity"] for item in sick}
    assert found == {
        "WEB001": "error",
        "CFG001": "error",
        "CFG003": "advice",
        "CAC003": "advice",
        "GIT001": "advice",
    }
