import json

from columns import too_long


def test_a_fresh_instance_is_reported(instance, gearbox):
    result = gearbox("perf-check", "-c", instance, "--budget", "3")
    assert result.returncode in (0, 1, 5), result.stderr
    assert " checks (" in result.stdout
    assert too_long(result.stdout) == []


def test_threads_are_an_error_and_the_exit_status_says_so(instance, gearbox, edit):
    edit(instance, "threads = 1", "threads = 10")
    result = gearbox("perf-check", "-c", instance, "--only", "WEB001", "-f", "json")
    assert result.returncode == 1
    (finding,) = json.loads(result.stdout)
    assert (finding["severity"], finding["evidence"]["threads"]) == ("error", 10)


def test_missing_ini_is_one_sentence_and_status_2(tmp_path, gearbox):
    result = gearbox("perf-check", "-c", tmp_path / "none.ini")
    assert result.returncode == 2
    assert result.stderr.strip().count("\n") == 0 and "does not exist" in result.stderr
