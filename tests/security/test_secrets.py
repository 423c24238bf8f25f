"""No secret reaches any output, whatever its kind and however it is written."""

from __future__ import annotations

import base64
import os
import re
import sqlite3
import string
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from environment import BIN
from hypothesis import given, settings
from hypothesis import strategies as st
from spellings import SPELLINGS

from kallithea_tune.config.exposure import readable_by_others
from kallithea_tune.config.redact import Redactor

ROOT = Path(__file__).resolve().parents[2]
LETTERS = (
    string.ascii_letters + string.digits + string.punctuation + " \u00e9\u00df\u4e2d\U0001f600"
)
# A secret in each place where an instance keeps one.
APPLICATION = """
mail.password = {smtp}
session.secret = {session}
set auth_bind_pw = {bind}
sentry.dsn = https://{sentry}@sentry.example.com/7
cookie.salt = {salt_one}
    {salt_two}
broker.urls = amqp://a:{broker_one}@one.example.com//;amqp://b:{broker_two}@two.example.com//
hook = https://ci.example.com/build?job=kallithea&access_token={query}
"""
SECTIONS = """
[app:other]
use = config:other.ini#main

[handler_smtp]
class = handlers.SMTPHandler
level = ERROR
args = (("mail.example.com", 25), "k@example.com", ["a@example.com"], "Kallithea", ("me", "{mail}"))

[handler_web]
class = logging.handlers.HTTPHandler
args = ("log.example.com", "/log", "POST", True, ("me", "{log}"))

[handler_chat]
class = chat.Handler
kwargs = {{"channel": "ops", "api_token": "{chat}"}}

[handler_queue]
class = queue_of.Handler
args = ("queue.example.com", "{queue}")"""
OTHER = "[app:main]\nuse = egg:kallithea\ndb_pass = {included}\n"
ENVIRONMENT = {
    "PGPASSWORD": "{pgpassword}",
    "BACKUP_TOKEN": "{token}",
    "DATABASE_URL": "postgresql://me:{database_url}@db.example.com/x",
}
GOSSIP = '''
import logging, os, sys, threading, warnings
sys.path.insert(0, %r)
from spellings import SPELLINGS
from kallithea_tune.perf_check.measurement import configuration
from kallithea_tune.perf_check.model import Finding, Severity, check

SECRETS = %r

@check("GOSSIP1", "gossip", "A check that reveals everything", "gossip", measures=(configuration,))
def everything(configuration):
    """Say every secret in every spelling, by every way out of the process."""
    for number, secret in enumerate(SECRETS):
        for name, write in SPELLINGS.items():
            text = "before %%s after" %% write(secret)
            yield Finding(Severity.advice, text, subject=f"{number} {name}", evidence={"x": [text]})
        warnings.warn("a warning with " + secret)
        logging.getLogger("gossip").warning("%%r", {"seen": secret})
    def fail():
        raise ValueError(SECRETS)
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    raise RuntimeError("x" * 2_000_000 + str(SECRETS))
'''


def markers_of(*templates: str) -> dict[str, str]:
    """Return a marker for each secret in the templates."""
    names = dict.fromkeys(re.findall(r"(?<!\{)\{(\w+)\}", "".join(templates)))
    return {name: f"Mk{number:02}{name}Qz" for number, name in enumerate(names)}


@pytest.fixture
def canary(instance: Path, tmp_path: Path) -> Any:
    """An instance with a secret in each place; returns its ini file, markers and environment."""
    markers = markers_of(APPLICATION, SECTIONS, OTHER, *ENVIRONMENT.values(), "{pgpass}")
    text = instance.read_text(encoding="utf-8")
    for name in re.findall(r"(?m)^(\w[\w.]*) =", APPLICATION):
        text = re.sub(rf"(?m)^{re.escape(name)} =.*\n", "", text)
    application = "[app:main]\n" + APPLICATION.format(**markers).lstrip("\n")
    text = text.replace("[app:main]\n", application, 1) + SECTIONS.format(**markers)
    instance.write_text(text, encoding="utf-8")
    (instance.parent / "other.ini").write_text(OTHER.format(**markers))
    (tmp_path / "pgpass").write_text("db:5432:*:me:{pgpass}\n".format(**markers))
    variables = {name: value.format(**markers) for name, value in ENVIRONMENT.items()}
    site = tmp_path / "site"
    (site / "gossip-1.0.dist-info").mkdir(parents=True)
    (site / "gossip.py").write_text(GOSSIP % (os.path.dirname(__file__), list(markers.values())))
    (site / "gossip-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: gossip\nVersion: 1.0\n"
    )
    (site / "gossip-1.0.dist-info" / "entry_points.txt").write_text(
        "[kallithea_tune.checks]\ngossip = gossip\n"
    )
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    pgpass = str(tmp_path / "pgpass")
    return instance, markers, {**os.environ, **variables, "PYTHONPATH": path, "PGPASSFILE": pgpass}


def forms_of(marker: str) -> set[str]:
    """Return what of a marker would be seen in any spelling."""
    coded = [base64.b64encode(b"x" * count + marker.encode()).decode() for count in range(3)]
    return {
        marker,
        marker.encode().hex(),
        "".join(f"&#{ord(letter)};" for letter in marker),
        "".join(f"&#x{ord(letter):X};" for letter in marker),
        "".join(f"\\{ord(letter):03o}" for letter in marker),
        *(text[4:12] for text in coded),
    }


def require_unseen(markers: dict[str, str], *texts: str) -> None:
    """Fail with the first secret that is in one of the texts."""
    for text in texts:
        joined = re.sub(r"\s+", "", text)
        for name, marker in markers.items():
            for form in forms_of(marker):
                place = joined.find(form)
                assert place < 0, (name, joined[max(0, place - 200) : place + 100])


@pytest.fixture
def told(canary: Any, gearbox: Any, tmp_path: Path) -> Any:
    """Run a command on the canary with --debug and a log file, and search all it says."""
    ini, markers, environment = canary
    log = tmp_path / "log"

    def call(command: str, *words: object, status: int = 0) -> str:
        result = gearbox(
            *("--debug", "-v", "--log-file", log, command, "-c", ini, *words),
            cwd=str(tmp_path),
            env=environment,
        )
        assert result.returncode == status, result.stderr[-3000:]
        require_unseen(markers, result.stdout, result.stderr, log.read_text(encoding="utf-8"))
        return result.stdout + result.stderr

    return call


def test_nothing_is_seen_in_the_outputs_of_perf_check(told, canary, tmp_path):
    saved = tmp_path / "saved.json"
    kept, page = tmp_path / "runs", tmp_path / "page.html"
    only = ["--only", "GOSSIP1", "--save", saved, "--history", kept, "--html", page]
    assert "GOSSIP1" in told("perf-check", *only, "--all", status=5)
    for form in ("json", "csv"):
        assert "before *** after" in told("perf-check", *only, "-f", form, status=5)
    runs = [path.read_text() for path in kept.iterdir()]
    require_unseen(canary[1], saved.read_text(), page.read_text(), *runs)
    assert len(runs) == 3 and all("RuntimeError: xxx" in text for text in runs)
    assert "RuntimeError: xxx" in saved.read_text()


def test_nothing_is_seen_in_the_outputs_of_static_export(told, canary, front_end, tmp_path):
    conf, server = tmp_path / "site.conf", ["--server", "nginx", "--overlay", front_end]
    shown = told("static-export", tmp_path / "pub", "-n", "--switch", *server)
    assert "+serve_static = false" in shown and "SMTPHandler" not in shown
    canary[2]["KALLITHEA_LOGIN"] = "admin:Mk{login}Qz"
    canary[1]["login"] = "Mk{login}Qz"
    words = ["static-export", tmp_path / "pub", "--compress", "", *server, "-o", conf]
    told(*words, "-f", "yaml")
    login = ["--verify-login", "env:KALLITHEA_LOGIN", "-f", "yaml"]
    told(*words, *login, "--verify", "http://127.0.0.1:1/", status=2)
    require_unseen(canary[1], conf.read_text())


@pytest.mark.once
def test_nothing_is_seen_in_the_outputs_of_db_migrate(told, canary, tmp_path):
    ini, markers, _ = canary
    markers["row"], markers["file"] = "MkRowQz", "MkFileQz"
    with sqlite3.connect(str(ini.parent / "kallithea.db")) as connection:
        connection.execute("CREATE TABLE tokens (owner TEXT, api_key TEXT)")
        connection.execute("INSERT INTO tokens VALUES ('admin', 'MkRowQz')")
        connection.execute("UPDATE users SET api_key = 'MkRowQz' WHERE user_id = 1")
    url = tmp_path / "url"
    url.write_text(f"sqlite:///{tmp_path}/new.db\n")
    words = ["db-migrate", "--to", f"file:{url}", "--extra-tables"]
    assert "+sqlalchemy.url = sqlite:///" in told(*words, "-n", "--switch")
    told(*words, "-f", "json")
    with sqlite3.connect(str(tmp_path / "new.db")) as connection:
        connection.execute("DELETE FROM tokens")
        connection.execute("UPDATE users SET api_key = 'x' WHERE user_id = 1")
    shown = told(*words, "--verify", status=1)
    assert "tokens: 1 row missing from the target (key admin, ***)" in shown
    assert "users.api_key differs" in shown
    password = quote("Mk/FileQz@x'\u00e9", safe="")
    url.write_text(f"postgresql://me:{password}@127.0.0.1:1/x\n")
    told(*words, "-n", status=2)


@settings(max_examples=150, deadline=None)
@given(st.text(LETTERS, min_size=8, max_size=24), st.sampled_from(sorted(SPELLINGS)))
def test_a_secret_is_masked_in_every_spelling(secret, name):
    secret = secret.strip()
    if len(re.sub(r"[\s'\"\\+%]", "", secret)) < 6:
        secret += "hunter2"
    spelling = SPELLINGS[name](secret)
    shown = Redactor([secret]).text(f"before {spelling} after")
    assert spelling not in shown and "***" in shown
    assert shown.startswith("before ") and shown.endswith(" after")


@given(st.text(LETTERS, max_size=80), st.lists(st.text(LETTERS, min_size=1), max_size=3))
def test_what_is_redacted_stays_as_it_is(text, secrets):
    redactor = Redactor(secrets)
    assert redactor.text(redactor.text(text)) == redactor.text(text)


@pytest.mark.parametrize(
    "words, line_end",
    [(["-n"], ""), (["-f", "json", "--compress", ""], "\n")],
    ids=["dry run, last line without end", "JSON"],
)
def test_the_neighbours_of_a_changed_line_are_not_shown(
    instance, front_end, gearbox, line_end, words
):
    text = instance.read_text().rstrip("\n") + SECTIONS.format_map(Planted()) + line_end
    instance.write_text(text)
    words = ["-c", instance, instance.parent / "pub", "--overlay", front_end, *words]
    result = gearbox("static-export", "--switch", *words)
    assert result.returncode == 0, result.stderr
    assert "serve_static = false" in result.stdout
    assert "planted" not in result.stdout + result.stderr
    if "-n" not in words:
        assert "static_export = " in instance.read_text()


class Planted(dict):
    """Any secret: the word "planted"."""

    def __missing__(self, key: str) -> str:
        return "planted"


def test_a_password_that_everybody_can_read_is_warned_of(instance, gearbox, tmp_path):
    os.chmod(str(instance), 0o644)
    for directory in instance.parents:
        if directory.stat().st_uid == os.getuid() and directory not in Path("/tmp").parents:
            directory.chmod(directory.stat().st_mode | 0o011)
    assert "chmod o-rwx" in readable_by_others(str(instance))
    os.chmod(str(instance), 0o640)
    assert readable_by_others(str(instance)) == ""
    os.chmod(str(instance), 0o644)
    instance.parent.chmod(0o700)
    assert readable_by_others(str(instance)) == ""


@pytest.mark.parametrize(
    "words",
    [
        ["db-migrate", "--to", "postgresql://me:hunter22@127.0.0.1:1/x", "-n"],
        ["static-export", "pub", "--verify", "http://me:hunter22@127.0.0.1:1/"],
        ["perf-check", "--only", "CFG001", "--compare-db", "postgresql://me:hunter22@h/x"],
    ],
    ids=lambda words: words[0],
)
def test_a_password_in_an_argument_is_warned_of(instance, gearbox, words, tmp_path):
    result = gearbox(*words, "-c", instance, cwd=str(tmp_path))
    assert "everybody on this machine can read the password in --" in result.stderr
    assert "hunter22" not in result.stdout + result.stderr


SHAPES = (
    *("x", "=", "a=b ", "password=", "://", "://a:b@", "a@", "a:b@", "'", '"', "\\", "%", "%25"),
    *("&amp;", ":", "curl ", "eyJ", "mysql -p", "Key (a)=(", "Duplicate entry '", "\\'", "\n "),
)


def test_a_long_text_does_not_take_the_square_of_its_length():
    # Squared, any of these would take hours.
    code = (
        "from kallithea_tune.config.redact import Redactor\n"
        "redactor = Redactor(['hunter22', 'p@ss word'])\n"
        f"for shape in {SHAPES!r}:\n"
        "    redactor.text(shape * (1_000_000 // len(shape)))"
    )
    subprocess.run([str(BIN / "python"), "-c", code], check=True, cwd=str(ROOT), timeout=600)
