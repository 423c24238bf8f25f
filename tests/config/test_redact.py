import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kallithea_tune.config.redact import Redactor, is_secret_key, secrets_of


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
    ],
)
def test_what_looks_like_a_secret_is_masked_although_nobody_knows_it(text, clean):
    assert Redactor().text(text) == clean


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
