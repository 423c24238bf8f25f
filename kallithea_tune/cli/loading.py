"""``--load`` of perf-check: where it may go, and the curves that it adds to the results."""

from __future__ import annotations

import argparse
import dataclasses
import os
from typing import TYPE_CHECKING, Any, Sequence
from urllib.parse import urlsplit

from kallithea_tune.cli.base import Once, TuneCommand

if TYPE_CHECKING:
    from kallithea_tune.config.instance import Instance
    from kallithea_tune.perf_check.load.run import Progress
    from kallithea_tune.perf_check.results import Curve


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--load`` and what belongs to it."""
    parser.add_argument(
        "--load",
        nargs="?",
        const="",
        metavar="URL",
        help="also measure throughput with one to several workers, which takes minutes: of "
        "processes started from the ini file, or of the running instance at URL",
    )
    parser.add_argument(
        "--load-host",
        action=Once,
        default="",
        metavar="HOST",
        help="repeat the host of that URL if it is another machine, to confirm that its users may "
        "notice the load",
    )
    parser.add_argument(
        "--target-rate",
        type=positive_rate,
        metavar="REQUESTS",
        help="with --load: compute how many workers and machines this rate per second needs",
    )


def positive_rate(text: str) -> float:
    """Return a number of requests per second. Raises ArgumentTypeError for what is none."""
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < 1e6:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of requests per second")
    return rate


def choose(command: TuneCommand, args: Any) -> None:
    """Check the options, and have a load of another machine confirmed before anything is measured.

    Raises ConfigError, and Refused without a confirmation.
    """
    from kallithea_tune.errors import ConfigError, Refused
    from kallithea_tune.perf_check.load.place import checked, is_here

    if args.load is None:
        if args.load_host:
            raise ConfigError("--load-host belongs to --load URL")
        if args.target_rate:
            raise ConfigError("--target-rate belongs to --load")
        return
    for option, given in (("--fix", args.fix), ("--try", args.wanted), ("--list", args.list)):
        if given:
            raise ConfigError(f"--load and {option} cannot be combined")
    if len(args.config or ()) > 1:
        raise ConfigError("--load is for one instance; give one -c")
    if not args.load:
        return
    args.load = checked(args.load)
    host = urlsplit(args.load).hostname or ""
    if is_here(args.load) or host == args.load_host.lower():
        return
    unattended = f"--load: {host} is not this machine; confirm with --load-host {host}"
    if args.load_host or not command.confirm(
        f"{host} is not this machine, and its users may notice the load. Continue?", unattended
    ):
        raise Refused(unattended)


def curves(instance: Instance, args: Any, progress: Progress) -> tuple[Curve, ...]:
    """Return the curves with their fit; none without ``--load``."""
    if args.load is None:
        return ()
    from kallithea_tune.perf_check.load import access_log, capacity, databases, scalability
    from kallithea_tune.perf_check.load.curves import curves as measured
    from kallithea_tune.perf_check.storage.memory import available

    log = access_log.read(args.access_log, instance.prefix) if args.access_log else None
    found = list(measured(instance, args.load, progress, log))
    if args.compare_db and not args.load:
        other = instance.with_settings({"sqlalchemy.url": args.compare_db})
        found += databases.beside(instance, other, progress, log)
    found = _with_threads_note([scalability.fitted(curve) for curve in found])
    if not args.target_rate:
        return tuple(found)
    free = available(os.getpid())
    return tuple(
        capacity.with_target(curve, args.target_rate, capacity.memory_for(curve, free))
        for curve in found
    )


def _with_threads_note(found: list[Curve]) -> list[Curve]:
    """Say of the curve of threads how it compares with one process, which is the curve before."""
    from kallithea_tune.perf_check.load import comparison
    from kallithea_tune.perf_check.load.run import PROCESSES, THREADS

    by_subject = {curve.subject: curve for curve in found}
    if not {PROCESSES, THREADS} <= set(by_subject):
        return found
    note = comparison.threads_note(by_subject[PROCESSES], by_subject[THREADS])
    return [
        dataclasses.replace(curve, notes=(*curve.notes, note), worker_bytes=0)
        if note and curve.subject == THREADS
        else curve
        for curve in found
    ]


def status(curves: Sequence[Curve]) -> int:
    """Return the exit status where the load itself is all that may be missing."""
    from kallithea_tune import errors

    measured = all(curve.levels for curve in curves)
    return errors.EXIT_OK if measured else errors.EXIT_NOT_MEASURED
