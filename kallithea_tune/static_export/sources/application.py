"""What the loaded application knows: which directories it serves, and which URLs it answers."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING, Iterator, Mapping, Sequence
from urllib.parse import quote

from kallithea_tune.app import claims
from kallithea_tune.config.instance import Instance
from kallithea_tune.errors import ConfigError, NotMeasured

if TYPE_CHECKING:
    from kallithea_tune.app.visit import Answer, Request

SECONDS = 60.0  # for the requests, once the application has loaded
SWITCH = "serve_static"
LOGIN = "/_admin/login"


def roots_of(instance: Instance) -> tuple[str, ...]:
    """Load the application and return the directories it serves. Raises ConfigError without any."""
    from kallithea_tune.app.visit import Request

    (answer,) = _answers(instance, [Request(LOGIN, prepare=roots_here)], {SWITCH: "true"})
    roots = answer.result_of(roots_here)
    if not roots:
        raise ConfigError(
            f"the application {instance.uri} serves no static files that could be exported"
        )
    return tuple(roots)


def status_of(instance: Instance, path: str, settings: Mapping[str, str]) -> int:
    """Return the status of the application's own response for a file, with `settings` changed."""
    from kallithea_tune.app.visit import Request

    return _answers(instance, [Request("/" + path)], settings)[0].status


def claims_believed(instance: Instance) -> tuple[str, ...]:
    """Return the headers of a client from which the application takes host or scheme."""
    from kallithea_tune.app.visit import Request

    (answer,) = _answers(instance, [Request(claims.PAGE, walk=claims.believed)], {})
    return answer.result_of(claims.believed)


def answered(instance: Instance, tops: Sequence[str]) -> list[str]:
    """Return those of `tops`, the first parts of paths, below which the application has pages.

    These are the beginnings of its routes, and its repositories and groups. A route that only
    redirects, as that of favicon.ico does, is no page.
    """
    from kallithea_tune.app.visit import Request

    # The application makes its routes at its first request.
    first = [Request(LOGIN), Request(LOGIN, prepare=routes_here)]
    requests = [Request("/" + quote(top)) for top in tops]
    _, routes, *answers = _answers(instance, [*first, *requests], {SWITCH: "false"})
    begins = routes.result_of(routes_here)
    if not begins:
        raise ConfigError(f"the application {instance.uri} does not show which URLs it answers")
    return [top for top, answer in zip(tops, answers) if begins.get(top, answer.status != 404)]


def _answers(
    instance: Instance, requests: Sequence[Request], settings: Mapping[str, str]
) -> Sequence[Answer]:
    from kallithea_tune.app.loading import DoesNotLoad
    from kallithea_tune.app.visit import visit
    from kallithea_tune.db.engine import require_accepted

    try:
        answers = visit(instance, requests, SECONDS, settings=settings).answers
    except DoesNotLoad as error:
        require_accepted(instance.database_url)
        raise ConfigError(f"the application does not load ({error.reason})") from None
    except NotMeasured as error:
        raise ConfigError(f"the application cannot be queried: {error}") from None
    if not all(answer.ms for answer in answers):
        raise ConfigError(f"the application did not respond within {SECONDS:.0f} s")
    return answers


def roots_here() -> list[str]:
    """Return the directories that this process's application serves; a `prepare` of a visit."""
    roots: dict[str, None] = {}
    for candidate in _instances("StaticsMiddleware"):
        root = getattr(candidate, "doc_root", None)
        if isinstance(root, str):
            roots[os.path.realpath(root)] = None
    return list(roots)


def routes_here() -> dict[str, bool]:
    """Return the first parts of the routes of this process's application, and for each whether
    there are pages, not only redirects; a `prepare` of a visit.
    """
    found: dict[str, bool] = {}
    for mapper in _instances("Mapper"):
        for route in getattr(mapper, "matchlist", ()):
            top = route.routepath.lstrip("/").split("/")[0]
            if top and "{" not in top:
                found[top] = found.get(top, False) or not route.redirect
    return found


def _instances(name: str) -> Iterator[object]:
    return (item for item in gc.get_objects() if type(item).__name__ == name)
