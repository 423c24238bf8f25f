"""The application imported into this process: its factories, its models, its Alembic scripts."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

from kallithea_tune.app.package import package_directory
from kallithea_tune.config import pastedeploy
from kallithea_tune.config.instance import Instance
from kallithea_tune.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import MetaData


def contexts(instance: Instance) -> tuple[pastedeploy.Context, pastedeploy.Context]:
    """Import the factories; return PasteDeploy's contexts with the filters and without them."""
    from paste.deploy import loadwsgi

    loader = pastedeploy.changed(loadwsgi.ConfigLoader(instance.path), instance.changes)
    outermost: pastedeploy.Context = loader.get_context(loadwsgi.APP, instance.name)
    return outermost, pastedeploy.application(outermost)[0]


def metadata() -> MetaData:
    """Import Kallithea's models and return their SQLAlchemy metadata.

    Raises ConfigError where they cannot be imported.
    """
    try:
        # Tables join the metadata when their models are imported.
        importlib.import_module("kallithea.model.db")
        found: MetaData = importlib.import_module("kallithea.model.meta").Base.metadata
    except ImportError as error:
        raise ConfigError(f"Kallithea's models cannot be imported: {error}") from None
    return found


def schema_heads() -> tuple[str, ...]:
    """Return the newest revisions of Kallithea's Alembic scripts; () without scripts."""
    scripts = os.path.join(package_directory(), "alembic")
    if not os.path.isdir(scripts):
        return ()
    from alembic.script import ScriptDirectory

    return tuple(sorted(ScriptDirectory(scripts).get_heads()))
