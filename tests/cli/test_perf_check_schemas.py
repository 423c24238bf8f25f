"""What perf-check writes for machines is what docs/schemas describes."""

from __future__ import annotations

from schemas import fits


def test_findings_and_what_is_saved(perf_check, instance, tmp_path):
    text = instance.read_text().replace("use = egg:kallithea", "use = egg:kallithea\ndebug = true")
    instance.write_text(text)
    saved = tmp_path / "run.json"
    # A finding of each kind of remedy that needs no probe, and what could not be looked at.
    only = ["--only", "CFG001", "--only", "WEB002", "--only", "CEL001", "--only", "DB001", "--all"]
    result = perf_check("-c", instance, *only, "--save", saved, "-f", "json")
    findings = fits(result.stdout, "perf-check-findings")
    assert {"ini"} == {step["kind"] for found in findings[:1] for step in found["actions"]}
    assert fits(saved.read_text(), "perf-check-run")["runs"][0]["findings"] == findings


def test_findings_of_several_instances_say_whose(perf_check, instance):
    other = instance.with_name("other.ini")
    other.write_text(instance.read_text())
    words = ["-c", instance, "-c", other, "--no-probes", "-f", "json"]
    found = fits(perf_check(*words).stdout, "perf-check-findings")
    assert {item["instance"] for item in found} == {"my.ini", "other.ini"}


def test_the_list_of_checks(perf_check):
    assert len(fits(perf_check("--list", "-f", "json").stdout, "perf-check-checks")) > 80


def test_remedies_that_are_planned_and_carried_out(perf_check, instance):
    text = instance.read_text().replace("use = egg:kallithea", "use = egg:kallithea\ndebug = true")
    instance.write_text(text)
    words = ["-c", instance, "--fix", "CFG001", "-f", "json"]
    (planned,) = fits(perf_check(*words, "-n").stdout, "perf-check-fix")
    (done,) = fits(perf_check(*words, "-y").stdout, "perf-check-fix")
    assert (planned["verdict"], done["verdict"]) == ("planned", "gone")
