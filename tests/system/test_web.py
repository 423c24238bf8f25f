"""Connections go to the server of a URL, and nothing else of it is shown."""

from __future__ import annotations

import http.client
import ssl

import pytest

from kallithea_tune.system.web import connection_to, host_of


def test_a_connection_has_host_port_and_verification_of_the_url() -> None:
    plain = connection_to("http://me:hidden@localhost:8080/x", 5)
    assert (plain.host, plain.port, plain.timeout) == ("localhost", 8080, 5)
    assert not isinstance(plain, http.client.HTTPSConnection)
    for verify, mode in ((True, ssl.CERT_REQUIRED), (False, ssl.CERT_NONE)):
        secure = connection_to("https://localhost", 5, verify)
        assert isinstance(secure, http.client.HTTPSConnection) and secure.port == 443
        assert vars(secure)["_context"].verify_mode is mode


@pytest.mark.parametrize("url", ["ftp://example.com", "http://", "localhost", "http://h:port"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError):
        connection_to(url, 5)


def test_the_host_of_a_url_has_no_password() -> None:
    assert host_of("https://me:hidden@example.com:8443/x") == "example.com:8443"
