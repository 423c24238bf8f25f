"""One database has one identity, whatever it is called."""

from __future__ import annotations

import pytest

from kallithea_tune.perf_check.scaling.instances import _server


@pytest.mark.once
@pytest.mark.parametrize("engine", ["postgresql", "mariadb"])
def test_a_server_is_told_from_another_by_what_it_says_of_itself(
    engine: str, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue(engine)
    one, two = server.url("identity_one"), server.url("identity_two")
    seen = _server(one)
    assert seen and seen == _server(one) == _server(one.replace("127.0.0.1", "localhost"))
    assert seen != _server(two)
