import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kallithea_tune.config.redact import Redactor, is_secret_key, secrets_of

SECRET_NAMES = """
    pw smtp_pass ldap_dn_pass auth_ldap_dn_pass ldap.bind_pw bind_pw auth_pw passwd pwd userpw pass
    aws.access_key_id cookie.salt hmac basic_auth authorization sentry.dsn raven.dsn webhook otp pin
    slack_url license csrf_key client_secret cert_pass passcode pgpass mysql_pwd rabbitmq_pass
    PGPASSWORD AWS_SECRET_ACCESS_KEY apiKey clientSecret DB_PASS dbpass password1 ssl.key api_keys
"""
PUBLIC_NAMES = """
    beaker.cache.long_term.key_length celery.task_track_tokens tokenizer private_repos monkey
    default_repo_private show_private_icon ssh_authorized_keys allow_custom_hooks_key bypass author
    forgot_password_text password_min_length has_secretary encryption PASSWORD_STORE_DIR key
    password_file PGPASSFILE max_tokens passenger keyboard session.type smtp_use_tls primary_key
"""


def test_password_in_url_is_masked_even_when_unknown():
    text = Redactor().text("cannot reach postgresql://kal:s3cr%40t@db/kal at once")
    assert text == "cannot reach postgresql://kal:***@db/kal at once"


def test_known_secrets_are_masked_anywhere_quoted_and_unquoted():
    redactor = Redactor(
        secrets_of({"sqlalchemy.url": "mysql://u:p%40ssword@h/d", "session.secret": "abcdef0123"})
    )
    assert (
        redactor.text("raw p%40ssword, decoded p@ssword, abcdef0123") == "raw ***, decoded ***, ***"
    )


def test_nested_values_are_redacted_by_key_and_by_content():
    value = Redactor().value({"smtp_password": "hunter22", "rows": ["amqp://a:bcde@h/v", 3]})
    assert value == {"smtp_password": "***", "rows": ["amqp://a:***@h/v", 3]}


def test_names_and_lengths_are_no_secrets():
    assert (
        secrets_of({"session.key": "kallithea", "beaker.cache.long_term.key_length": "2560"})
        == frozenset()
    )


@pytest.mark.parametrize(
    "key, secret",
    [
        ("smtp_password", True),
        ("session.secret", True),
        ("session.encrypt_key", True),
        ("session.validate_key", True),
        ("app_instance_uuid", True),
        ("ldap.bind_password", True),
        ("API_KEY", True),
        ("celery.redis_password", True),
        ("auth_token", True),
        ("ssl.private", True),
        ("session.key", False),
        ("beaker.session.key", False),
        ("beaker.cache.long_term.key_length", False),
        ("smtp_username", False),
        ("foreign_key", False),
        *((name, True) for name in SECRET_NAMES.split()),
        *((name, False) for name in PUBLIC_NAMES.split()),
    ],
)
def test_an_option_is_secret_by_its_name(key, secret):
    assert is_secret_key(key) is secret


@pytest.mark.parametrize(
    "text, clean",
    [
        ("postgresql://u:a:b@c@h/d", "postgresql://u:***@h/d"),
        ("redis://:word@h:6379/0", "redis://:***@h:6379/0"),
        ("db+mysql+pymysql://u:word@h/d?charset=utf8", "db+mysql+pymysql://u:***@h/d?charset=utf8"),
        ("https://0123abcd@sentry.example.com/7", "https://***@sentry.example.com/7"),
        ("ssh://git@example.com/repo", "ssh://git@example.com/repo"),
        ("http://example.com/a@b", "http://example.com/a@b"),
        ("mail to admin@example.com", "mail to admin@example.com"),
        ("smtp_password = word", "smtp_password = ***"),
        ('{"smtp_password": "a word, or two"}', '{"smtp_password": ***}'),
        ("connect(password='wo rd', port=1)", "connect(password=***, port=1)"),
        ("?user=me&password=word&x=1", "?user=me&password=***&x=1"),
        ("password = hunter2 and more", "password = ***"),
        ("+smtp_pass = hunter2 and more", "+smtp_pass = ***"),
        ("PGPASSWORD=hunter2 psql", "PGPASSWORD=*** psql"),
        ("mysql -u me -phunter2 db", "mysql -u me -p*** db"),
        ("curl -u user:hunter2 https://x", "curl -u user:*** https://x"),
        ("kallithea-cli x --password word --email=x", "kallithea-cli x --password *** --email=x"),
        ("Authorization: Bearer eyJabc.def", "Authorization: ***"),
        ("Authorization: Basic dXNlcjpodW50ZXIy", "Authorization: ***"),
        ("Set-Cookie: kallithea=abc; path=/", "Set-Cookie: ***"),
        ("postgresql://u:p w@h/db", "postgresql://u:***@h/db"),
        ("postgresql://u:p'q@h/db", "postgresql://u:***@h/db"),
        ("host=h password='hun ter2' dbname=x", "host=h password=*** dbname=x"),
        ("https://h/?access_token=abc&x=1", "https://h/?access_token=***&x=1"),
        ("https://h/?key=abc", "https://h/?key=***"),
        ("https://hooks.slack.com/services/T0/XXX", "https://hooks.slack.com/services/***"),
        ("jdbc:postgresql://h/db?user=u&password=w", "jdbc:postgresql://h/db?user=u&password=***"),
        ("amqp://a:b@h1;amqp://c:d@h2", "amqp://a:***@h1;amqp://c:***@h2"),
        ("user:pw@host", "user:***@host"),
        ("-----BEGIN PRIVATE KEY----- MIIE", "-----BEGIN PRIVATE KEY----- ***"),
        ("[parameters: ('admin', 'x')]", "[parameters: ***)]"),
        ("Key (api_key)=(abc) already exists.", "Key (api_key)=(***) already exists."),
        ("Failing row contains (1, admin, x).", "Failing row contains (***)."),
        ("password: hunter2", "password: ***"),
        ("IDENTIFIED BY 'it''s'", "IDENTIFIED BY '***'"),
    ],
)
def test_what_looks_like_a_secret_is_masked_although_nobody_knows_it(text, clean):
    assert Redactor().text(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "users.password: with a NUL in it in 14 rows (key 8)",
        "users.api_key: text over 255 characters in 3 rows",
        "the password: it has to be changed",
        "no secret: none",
        "api_key: text of api_key column is unique",
        "session.secret is too short",
        "using password: YES",
        "http://127.0.0.1:5000/users?filter=a@b",
        "http://host:8080 mail to admin@example.com",
        "mailto:admin@example.com",
        "Key (repo_name)=(foo) already exists",
        "the session cookie: it is long",
        "beaker.cache.long_term.key_length = 250",
    ],
)
def test_what_only_speaks_of_secrets_is_left_alone(text):
    assert Redactor().text(text) == text


@pytest.mark.parametrize(
    "secret, text",
    [
        ("kallithea!", "/srv/kallithea/data"),
        ("pass word", "the password is set"),
        ("the-cat", "the cat, the.cat and thecat"),
        ("hunter2", "hunt er2"),
    ],
)
def test_what_only_resembles_a_secret_is_left_alone(secret, text):
    assert Redactor([secret]).text(text) == text


@pytest.mark.parametrize(
    "section, secrets",
    [
        ({"set ldap_pw": "hunter22"}, {"hunter22"}),
        ({"broker": "amqp://a:one1@h;amqp://b:two2@h"}, {"one1", "two2"}),
        ({"url": "mysql://h/d?user=x&password=hunt%20er"}, {"hunt er"}),
        (
            {
                "class": "handlers.SMTPHandler",
                "args": "('h', 'f', ['t'], 's', ('me', 'hun\\'ter'))",
            },
            {"hun'ter"},
        ),
        ({"class": "x.Y", "kwargs": "{'credentials': ('me', 'hunter22')}"}, {"hunter22"}),
        ({"class": "StreamHandler", "args": "('/var/log/kallithea1.log',)"}, set()),
        ({"key": "hunter22"}, set()),
    ],
)
def test_secrets_are_found_where_they_are_kept(section, secrets):
    found = secrets_of(section)
    assert secrets <= found and bool(found) is bool(secrets)


@pytest.mark.parametrize(
    "write",
    [
        str,
        repr,
        json.dumps,
        quote,
        quote_plus,
        lambda secret: quote(secret, safe=""),
        lambda secret: f"<{secret}>",
        lambda secret: f"postgresql://u:{secret}@h/d",
        lambda secret: "%r" % {"x": [secret]},
    ],
)
@pytest.mark.parametrize(
    "secret",
    [
        "plainword",
        "with space+plus",
        "quo'te\"d",
        "p@ss:w/rd%41",
        "\u00e9\u4e2d\u00df\u2713",
        "a\\b-c",
    ],
)
def test_a_known_secret_is_masked_however_it_is_written(secret, write):
    assert secret not in Redactor([secret]).text(f"before {write(secret)} after")
    assert write(secret) not in Redactor([secret]).text(f"before {write(secret)} after")


def test_a_short_secret_is_masked_in_quotes_only():
    assert Redactor(["no"]).text("no news, password 'no'") == "no news, password '***'"


def test_a_secret_that_other_settings_hold_spoils_no_paths():
    settings = {
        "sqlalchemy.url": "postgresql://kallithea:kallithea@h/d",
        "cache_dir": "/srv/kallithea",
    }
    assert secrets_of(settings) == frozenset()


@given(
    st.recursive(
        st.one_of(st.text(), st.integers(), st.none(), st.just("hunter22")),
        lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    )
)
def test_no_nesting_hides_a_secret(value):
    assert "hunter22" not in json.dumps(Redactor(["hunter22"]).value(value), ensure_ascii=False)
