from kallithea_tune.redact import Redactor, secrets_of


def test_password_in_url_is_masked_even_when_unknown():
    text = Redactor().text("cannot reach postgresql://kal:s3cr%40t@db/kal at once")
    assert text == "cannot reach postgresql://kal:***@db/kal at once"


def test_known_secrets_are_masked_anywhere_quoted_and_unquoted():
    redactor = Redactor(secrets_of({"sqlalchemy.url": "mysql://u:p%40ssword@h/d", "session.secret": "abcdef0123"}))
    assert redactor.text("raw p%40ssword, decoded p@ssword, abcdef0123") == "raw ***, decoded ***, ***"


def test_nested_values_are_redacted_by_key_and_by_content():
    value = Redactor().value({"smtp_password": "hunter22", "rows": ["amqp://a:bcde@h/v", 3]})
    assert value == {"smtp_password": "***", "rows": ["amqp://a:***@h/v", 3]}


def test_names_and_lengths_are_no_secrets():
    assert secrets_of({"session.key": "kallithea", "beaker.cache.long_term.key_length": "2560"}) == frozenset()
