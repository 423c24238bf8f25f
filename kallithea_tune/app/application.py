"""The application imported into this process: its package, its models, its Alembic scripts."""

from __future__ import annotations

import contextlib
import importlib
import operator
import os
from typing import TYPE_CHECKING, Optional

from kallithea_tune.config import pastedeploy
from kallithea_tune.config.instance import Instance
from kallithea_tune.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import MetaData

# Where Kallithea and TurboGears2's quickstart templates keep the metadata, below the package.
USUAL_METADATA = (".model.meta:Base.metadata", ".model:DeclarativeBase.metadata", ".model:metadata")


def contexts(instance: Instance) -> tuple[pastedeploy.Context, pastedeploy.Context]:
    """Import the factories; return PasteDeploy's contexts with the filters and without them."""
    from paste.deploy import loadwsgi

    loader = pastedeploy.changed(loadwsgi.ConfigLoader(instance.path), instance.changes)
    outermost: pastedeploy.Context = loader.get_context(loadwsgi.APP, instance.name)
    return outermost, pastedeploy.application(outermost)[0]


def package(instance: Instance) -> str:
    """Return the name of the application's top-level package, as ``kallithea``.

    Raises ConfigError where its factory is in none.
    """
    module = getattr(contexts(instance)[1].object, "__module__", "") or ""
    if not module:
        raise ConfigError(f"{instance.path}: the package of the application cannot be determined")
    return str(module.split(".")[0])


def metadata(instance: Instance, reference: str = "") -> MetaData:
    """Return the SQLAlchemy metadata of the application's models.

    `reference` says where it is, as ``module:attribute``; without one, the usual places are tried.
    Raises ConfigError where there is none.
    """
    name = reference.partition(":")[0].partition(".")[0] if reference else package(instance)
    references = [reference] if reference else [name + place for place in USUAL_METADATA]
    with contextlib.suppress(ImportError, TypeError):
        # Tables join the metadata when the models are imported. A TypeError is a relative name.
        importlib.import_module(name + ".model.db")
    for candidate in references:
        found = _attribute(candidate)
        if found is not None:
            return found
    places = " or ".join(references)
    raise ConfigError(
        f"the application's tables were not found in {places}; "
        "give their place with --metadata module:attribute"
    )


def _attribute(reference: str) -> Optional[MetaData]:
    module, _, attribute = reference.partition(":")
    # A ValueError is an empty name, a TypeError a relative one.
    with contextlib.suppress(ImportError, AttributeError, ValueError, TypeError):
        found: MetaData = operator.attrgetter(attribute)(importlib.import_module(module))
        return found
    return None


def schema_heads(instance: Instance) -> tuple[str, ...]:
    """Return the newest revisions of the application's own Alembic scripts; () without scripts."""
    directory = os.path.dirname(str(importlib.import_module(package(instance)).__file__))
    scripts = os.path.join(directory, "alembic")
    if not os.path.isdir(scripts):
        return ()
    from alembic.script import ScriptDirectory

    return tuple(sorted(ScriptDirectory(scripts).get_heads()))
