"""The notes beside a configuration, compared with the real Kallithea."""

from __future__ import annotations

import re

import pytest
from servers.application import TRUST, Kallithea

from kallithea_tune.config.instance import load
from kallithea_tune.static_export import configure
from kallithea_tune.static_export.webservers.site import Backend, Site


def notes(ini, **more):
    site = Site("/srv/static", ["css"], [], [], [Backend("127.0.0.1", 5000)], **more)
    return " ".join(configure._notes(load(str(ini)), site))


def home_page(server, **headers):
    import urllib.request

    request = urllib.request.Request(
        "http://127.0.0.1:%d/" % server.port,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read().decode()


def test_kallithea_believes_the_proxy_as_advised(instance, edit):
    assert "trusted_proxy = 127.0.0.1" in notes(instance)
    edit(instance, "[server:main]\n", "[server:main]\n" + TRUST)
    assert "trusted_proxy" not in notes(instance)
    server = Kallithea(instance)
    try:
        server.start()
        page = home_page(
            server,
            X_Forwarded_Proto="https",
            X_Forwarded_For="203.0.113.9",
            Host="code.example.com",
        )
        assert re.search(r'href="https://code\.example\.com[:\d]*/about', page)
    finally:
        server.remove()


def test_the_documented_setting_keeps_kallithea_from_starting(instance, edit):
    edit(instance, "#url_scheme_variable =", "url_scheme_variable =")
    assert "does not start with url_scheme_variable" in notes(instance)
    server = Kallithea(instance)
    try:
        with pytest.raises(AssertionError, match="not true/false"):
            server.start()
    finally:
        server.remove()


def test_several_processes_need_one_cache_and_names_of_their_own(instance, edit):
    assert "cache_dir" not in notes(instance)
    more = {"vcs": [Backend("127.0.0.1", 5001)]}
    assert "cache_dir" in notes(instance, **more) and "instance_id" not in notes(instance, **more)
    edit(instance, "[app:main]\n", "[app:main]\ninstance_id = one\n")
    assert "instance_id = *" in notes(instance, **more)


def test_another_prefix_than_that_of_the_ini_file_is_told(instance):
    assert "prefix" not in notes(instance)
    assert "filter-with = proxy-prefix" in notes(instance, prefix="/hosted")


def test_uwsgi_that_speaks_http_and_is_told_of_no_waitress(instance, edit):
    edit(instance, "[server:main]\n", "[uwsgi]\nhttp-socket = 127.0.0.1:5000\n\n[server:main]\n")
    message = notes(instance)
    assert "WEB006" in message and "trusted_proxy" not in message
    edit(instance, "http-socket =", "socket =")
    assert "WEB006" not in notes(instance)
