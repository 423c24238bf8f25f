"""Every secret that Kallithea's own ini template can hold, planted and looked for in every
output.
"""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import quote

import pytest

from kallithea_tune.app.package import package_directory

# What the template names as secret, or shows as a URL with a password.
SECRETS = {
    "smtp_password": "%s",
    "app_instance_uuid": "%s",
    "session.secret": "%s",
    "session.encrypt_key": "%s",
    "session.validate_key": "%s",
    "celery.broker_url": "amqp://kallithea:%s@127.0.0.1:1/vhost",
    "session.sa.url": "postgresql://postgres:%s@127.0.0.1:1/kallithea",
    "sqlalchemy.url": "postgresql://kallithea:%s@127.0.0.1:1/kallithea?connect_timeout=2",
}
# Others that Celery, TurboGears2 and Beaker read, and the prefix filter's way to write the same
# options.
MORE = {
    "celery.result_backend": "db+postgresql://me:%s@127.0.0.1:1/x",
    "celery.redis_password": "%s",
    "trace_errors.sentry_dsn": "https://%s@127.0.0.1:1/7",
    "beaker.session.secret": "%s",
    "beaker.cache.long_term.url": "redis://:%s@127.0.0.1:1/0",
    "api_key": "%s",
    "ldap.bind_password": "%s",
    "bugtracker": "https://robot:%s@127.0.0.1/issues",
}
# As an admin's password manager makes them: with what URLs, ini files, JSON and Python write
# otherwise.
AWKWARD = "%s.p@ss/w:rd+&'\"#\u00e9"
GOSSIP = '''
import logging
from kallithea_tune.perf_check.measurement import configuration
from kallithea_tune.perf_check.model import Finding, Severity, check
from kallithea_tune.errors import ConfigError

@check("GOSSIP1", "gossip", "A check that reveals everything", "gossip", measures=(configuration,))
def everything(configuration):
    """Report every setting wherever a finding has room for it, then fail."""
    told = dict(configuration.instance.settings)
    logging.getLogger("gossip").warning("settings %r", told)
    for name, value in told.items():
        yield Finding(
            Severity.advice, "%s is %s" % (name, value), subject=value, source=value,
            impact_ms=1.0, impact_per=value,
            evidence={name: value, "list": [value, {name: value}], value: 1, "repr": repr(value)},
            threshold=value, remedy="set %s = %s" % (name, value))
    raise ValueError("cannot use %r" % told)
'''


def test_the_template_holds_no_secret_that_is_not_planted_here():
    template = package_directory() + "/templates/ini/template.ini.mako"
    with open(template, encoding="utf-8") as file:
        options = re.findall(r"(?m)^#?([\w.]+) =[ ]?(.*)$", file.read())
    named = {
        name
        for name, _ in options
        if re.search("passw|secret|uuid|token|(encrypt|validate|api)_?key", name)
    }
    in_urls = {name for name, value in options if re.search(r"://[^:/]*:[^@/]+@", value)}
    assert named | in_urls == set(SECRETS)


@pytest.fixture
def planted(instance, install):
    """The ini file with a marker in each secret, and all the spellings in which each must not be
    seen.
    """
    install("gossip", GOSSIP)
    text, markers = instance.read_text(), []
    for number, (name, form) in enumerate([*SECRETS.items(), *MORE.items()]):
        markers.append("Marker%02d" % number)
        secret = AWKWARD % markers[-1]
        secret = secret if form == "%s" else quote(secret, safe="")
        text = re.sub(rf"(?m)^{re.escape(name)} =.*\n", "", text)
        text = text.replace(
            "[app:main]\n",
            "[app:main]\n{} = {}\n".format(name, (form % secret).replace("%", "%%")),
            1,
        )
    # The template hands this one on to TurboGears2 with "get".
    text = text.replace("[DEFAULT]\n", "[DEFAULT]\nsmtp_password = Marker99word\n", 1)
    instance.write_text(text, encoding="utf-8")
    return instance, [*markers, "Marker99"]


def nothing_seen(markers, *texts):
    for text in texts:
        for shape in (str, lambda word: base64.b64encode(word.encode()).decode()[:8]):
            assert [marker for marker in markers if shape(marker) in text] == [], text[:3000]


@pytest.mark.once
def test_no_secret_is_seen_in_any_format(perf_check, planted, tmp_path):
    ini, markers = planted
    kept = tmp_path / "kept.json"
    gossip = ["-c", ini, "--only", "GOSSIP1"]
    for form in ("json", "yaml", "csv", "table", "value"):
        # A table is as wide as the terminal, and would break the words.
        result = perf_check(*gossip, "-f", form, env={"COLUMNS": "9999"})
        assert (
            result.returncode == 5 and "celery.broker_url is amqp://kallithea:***@" in result.stdout
        )
        nothing_seen(markers, result.stdout, result.stderr)
    result = perf_check(*gossip, "--all", "--save", kept)
    assert "ValueError: cannot use" in result.stdout
    again = perf_check(*gossip, "--compare", kept)
    nothing_seen(
        markers, result.stdout, result.stderr, kept.read_text(), again.stdout, again.stderr
    )
    assert len(json.loads(kept.read_text())["runs"][0]["findings"]) > 20


def test_no_secret_is_seen_in_logs_tracebacks_and_tried_settings(
    gearbox, planted, environment, tmp_path
):
    ini, markers = planted
    log = tmp_path / "log"
    words = ["--debug", "-v", "--log-file", log, "perf-check", "-c", ini]
    options = {"cwd": str(tmp_path), "env": environment}
    result = gearbox(*words, "--only", "GOSSIP1", **options)
    nothing_seen(markers, result.stdout, result.stderr, log.read_text())
    assert "gossip" in log.read_text(), "the log file was not written to"
    wanted = [
        "--try",
        "sqlalchemy.url=mysql://me:MarkerNN@127.0.0.1:1/x",
        "--try",
        "smtp_password=MarkerNN",
    ]
    tried = gearbox(*words, *wanted, "--only", "GOSSIP1", "--budget", "8", **options)
    assert "smtp_password = ***" in tried.stdout
    nothing_seen([*markers, "MarkerNN"], tried.stdout, tried.stderr, log.read_text())
    ini.write_text(ini.read_text(encoding="utf-8").replace("%%", "%"), encoding="utf-8")
    broken = gearbox(*words, **options)
    assert broken.returncode == 2 and "Traceback" in broken.stderr
    nothing_seen(markers, broken.stdout, broken.stderr, log.read_text())


def test_no_secret_is_seen_in_what_the_real_checks_say(gearbox, planted, environment, tmp_path):
    ini, markers = planted
    log = tmp_path / "log"
    words = [
        "--debug",
        "--log-file",
        log,
        "perf-check",
        "-c",
        ini,
        "--skip",
        "gossip",
        "--budget",
        "6",
        "--all",
        "--compare-db",
        "postgresql://me:MarkerDB@127.0.0.1:1/x",
    ]
    for form in ([], ["-f", "json"]):
        result = gearbox(*words, *form, cwd=str(tmp_path), env=environment)
        assert result.returncode in (1, 5), result.stderr
        nothing_seen([*markers, "MarkerDB"], result.stdout, result.stderr, log.read_text())
