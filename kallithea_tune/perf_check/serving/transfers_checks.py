"""What stands between Kallithea and the clients that clone: filters that compress, or hold
everything back.
"""

from __future__ import annotations

from typing import Any, Iterator, Mapping, Sequence

from kallithea_tune.app import vcs_transfer
from kallithea_tune.errors import NotMeasured
from kallithea_tune.perf_check.model import Context, Finding, Severity, check
from kallithea_tune.perf_check.serving.page_times_checks import SECONDS, SHARED, visited

SOURCE = "PEP 3333, 'Middleware Handling of Block Boundaries'; Kallithea manual, static files (buffered clones)"


def judge_clone(kind: str, seen: Mapping[str, Any], filters: Sequence[str]) -> Iterator[Finding]:
    """Whoever must see the last byte before passing on the first keeps whole clones in memory, and
    clients waiting.
    """
    evidence: dict[str, Any] = {
        "held_bytes": seen["held"],
        "of_bytes": seen["size"],
        "encoding": seen["came"] or "none",
        "filters": ", ".join(filters) or "none",
    }
    common: dict[str, Any] = {
        "subject": kind,
        "evidence": evidence,
        "source": SOURCE,
        "threshold": "not all held",
    }
    if seen["status"] != 200 or not seen["size"]:
        yield Finding(
            Severity.unknown,
            "not measured: a %s client is answered with status %d" % (kind, seen["status"]),
            subject=kind,
        )
        return
    remedy = "take {} out of the way of clones; compress in the web server, pages only".format(
        ", ".join(filters) or "what buffers"
    )
    compressed = seen["came"] != seen["made"]
    if seen["whole"]:
        yield Finding(
            Severity.error,
            f"{kind} clones stay in memory until their last byte is made",
            remedy=remedy,
            **common,
        )
    elif compressed:
        yield Finding(
            Severity.warning,
            "{} clones, compressed already, are compressed again: {}".format(kind, seen["came"]),
            remedy=remedy,
            **common,
        )
    else:
        yield Finding(
            Severity.ok, f"{kind} clones leave as they are made, and as they are", **common
        )
    if seen["read"] and kind == "git":
        yield Finding(
            Severity.warning,
            "a filter reads pushes whole before Kallithea sees them",
            subject="push",
            evidence={"read_bytes": seen["read"], "filters": evidence["filters"]},
            threshold="0 bytes",
            source=SOURCE,
            remedy="take {} out of the way of pushes".format(evidence["filters"]),
        )


@check(
    "WEB005",
    "serving-transfers",
    "Compressed or buffered clones",
    "serving",
    seconds=SECONDS,
    writes="cache_dir",
    needs=("ini", "database", "app"),
    tags=("probe", "app"),
    shares=SHARED,
)
def transfers(context: Context) -> Iterator[Finding]:
    """Ask the application for a pull as Mercurial and Git do, through all its filters, and watch
    the bytes come out.

    Where Kallithea makes the answer, it is filled up with random bytes to 1 MB. Noted is how much
    had been made when the first byte came out of the outermost filter, and whether it came
    compressed. All of it: an error, since clones are as large as repositories, and are kept in
    memory. Compressed only: a warning, since clones are compressed already. Also, whether a filter
    had read the body of Git's POST before Kallithea was called: so it would read pushes. The pull
    asks for nothing new, so that it costs the same for every repository; no hook runs.

    What web servers and proxies in front do is not seen.
    """
    seen = visited(context)
    filters = [str(item["use"]) for item in context.instance.filters]
    kinds = [name.split()[1] for name in seen if name.startswith("clone ")]
    if not kinds:
        raise NotMeasured("there is no repository to clone, or no time was left")
    for kind in kinds:
        yield from judge_clone(kind, seen["clone " + kind][0].result_of(vcs_transfer.ask), filters)
