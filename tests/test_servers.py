import contextlib

import pytest


@pytest.mark.parametrize("name", ["postgresql", "mariadb"])
def test_a_server_gives_fresh_databases_and_can_be_down(name, request):
    server = request.getfixturevalue(name)
    server.url("fresh")
    with contextlib.closing(server.connect("fresh")) as connection:
        connection.cursor().execute("CREATE TABLE kept (id INTEGER)")
    server.stop()
    assert not server.ready()
    server.start()
    with contextlib.closing(server.connect("fresh")) as connection:
        connection.cursor().execute("SELECT * FROM kept")
    server.url("fresh")
    with contextlib.closing(server.connect("fresh")) as connection, pytest.raises(
        Exception, match="kept"
    ):
        connection.cursor().execute("SELECT * FROM kept")
