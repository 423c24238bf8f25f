"""The application imported into this process: its factories, its models, its Alembic scripts."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, NamedTuple

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


class SchemaHistory(NamedTuple):
    """The revisions of Kallithea's Alembic scripts, and the newest ones of them."""

    heads: tuple[str, ...]
    revisions: frozenset[str]


def schema_history() -> SchemaHistory:
    """Return the revisions of Kallithea's Alembic scripts; none without scripts."""
    scripts = os.path.join(package_directory(), "alembic")
    if not os.path.isdir(scripts):
        return SchemaHistory((), frozenset())
    from alembic.script import ScriptDirectory

    directory = ScriptDirectory(scripts)
    revisions = frozenset(script.revision for script in directory.walk_revisions())
    return SchemaHistory(tuple(sorted(directory.get_heads())), revisions)
