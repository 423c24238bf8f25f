"""Whether the application is Kallithea, and whether this environment is Kallithea's."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from typing import Iterator

from kallithea_tune.app import factory
from kallithea_tune.app.package import kallithea_version
from kallithea_tune.config.instance import Instance, load
from kallithea_tune.errors import ConfigError

SERVED = "0.6.3 and 0.7"


def require(instance: Instance) -> None:
    """Raise ConfigError unless the application is Kallithea, or wraps it, and is installed here.

    The application's code is read and not run: one that does not start is Kallithea all the same.
    """
    found = factory.factory(instance.use)
    if not found.installed:
        raise ConfigError(_not_installed(found.title, instance))
    if found.group in factory.COMPOSITES or instance.section.startswith("composit"):
        raise ConfigError(_composite(instance))
    if factory.wrappers(instance.use) is None:
        raise ConfigError(
            f"{instance.path}: the application '{instance.name}' ({instance.use}) is not "
            "Kallithea, and this command supports only Kallithea"
        )
    if not _is_here("kallithea"):
        raise ConfigError(_not_installed("Kallithea", instance))
    missing = [name for module, name in factory.REQUIRED.items() if not _is_here(module)]
    if missing:
        raise ConfigError(
            f"Kallithea cannot start in {sys.prefix}, since {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not installed there; install Kallithea again"
        )


def version_note() -> str:
    """Return a warning for a version of Kallithea that was never tried; empty for the others."""
    version = kallithea_version()
    if not version or version == "0.6.3" or version.startswith("0.7."):
        return ""
    return f"warning: this is Kallithea {version}; this command was tested with {SERVED} only"


def _is_here(module: str) -> bool:
    if module in sys.modules:
        return True
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return False
    # A directory that only has the name has no origin.
    return spec is not None and spec.origin is not None


def _not_installed(what: str, instance: Instance) -> str:
    gearbox = "the gearbox of Kallithea's environment, which is next to kallithea-cli"
    cli = shutil.which("kallithea-cli")
    beside = os.path.join(os.path.dirname(os.path.abspath(cli)), "gearbox") if cli else ""
    if os.path.exists(beside) and os.path.dirname(beside) != os.path.dirname(sys.executable):
        gearbox += f" ({beside})"
    return f"{what} is not installed in {sys.prefix}; run this on {instance.path} with {gearbox}"


def _composite(instance: Instance) -> str:
    inside = " or ".join(f"-c {instance.path}#{name}" for name in _inside(instance))
    advice = f"give the one of them that is Kallithea: {inside or 'none of them is'}"
    return (
        f"{instance.path}: '{instance.name}' is composed of other applications ({instance.use}); "
        + (advice if inside else "none of those in this file is Kallithea")
    )


def _inside(instance: Instance) -> Iterator[str]:
    """Yield the names of the Kallitheas that a composite's options refer to."""
    options = instance.sections.get(instance.section, {})
    for name in dict.fromkeys(options.values()):
        try:
            inner = load(f"{instance.path}#{name}")
        except ConfigError:
            continue
        if inner.section != instance.section and factory.wrappers(inner.use) is not None:
            yield name
