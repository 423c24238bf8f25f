from __future__ import annotations

import pytest

from kallithea_tune.errors import ConfigError
from kallithea_tune.perf_check.load.place import checked, is_here


@pytest.mark.parametrize(
    "url, here",
    [
        ("http://127.0.0.1:5000", True),
        ("http://127.9.9.9", True),
        ("https://[::1]:5000/kallithea", True),
        ("http://localhost", True),
        ("http://0.0.0.0:5000", False),
        ("http://192.0.2.1", False),
        ("http://[2001:db8::1]", False),
        # Not a number between dots for the eye, but one for the resolver: 192.0.2.1.
        ("http://3221225985", False),
    ],
)
def test_only_the_loopback_interface_is_here(url: str, here: bool) -> None:
    assert is_here(checked(url)) is here


@pytest.mark.parametrize(
    "url, message",
    [
        ("ftp://127.0.0.1", "URL of a web server"),
        ("127.0.0.1:5000", "URL of a web server"),
        ("http://", "URL of a web server"),
        ("http://127.0.0.1:none", "port"),
        ("http://admin:secret@127.0.0.1", "without user"),
        ("http://127.0.0.1/?a=b", "without"),
    ],
)
def test_what_no_load_is_sent_to_is_refused_without_showing_it(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        checked(url)
    assert "secret" not in str(raised.value)


def test_a_host_without_an_address_is_a_wrong_option() -> None:
    with pytest.raises(ConfigError, match="no address"):
        is_here("http://nowhere.invalid")
