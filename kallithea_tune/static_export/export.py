"""The export, one step after the other: prepare, publish, configure, verify, switch off.

Whatever can be refused is refused while the export is prepared: nothing is published then.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Iterator, Optional, Sequence

from kallithea_tune.app.package import code
from kallithea_tune.config.instance import Instance
from kallithea_tune.errors import EXIT_FINDINGS, EXIT_OK, ConfigError, Refused, TuneError
from kallithea_tune.static_export import configure
from kallithea_tune.static_export.options import Options, login
from kallithea_tune.static_export.release import access, destination, freshness, integrity, publish
from kallithea_tune.static_export.release.manifest import Manifest, Recipe
from kallithea_tune.static_export.release.plan import Plan, make
from kallithea_tune.static_export.report import Report, Row
from kallithea_tune.static_export.sources import source, stylesheets
from kallithea_tune.static_export.step import Export
from kallithea_tune.text import counted, first_of, shell_word

if TYPE_CHECKING:
    from kallithea_tune.config.inifile import Edit
    from kallithea_tune.static_export.generated_files import Generated

PROBLEMS_SHOWN = 50


@dataclass(frozen=True)
class Prepared:
    """What a run is going to do, once nothing of it can be refused any more.

    `read` is how many files of the current release had to be read to plan it. `configuration` is
    empty without ``--server``, and `edits` without ``--switch``.
    """

    plan: Plan
    read: int
    configuration: Sequence[Generated]
    edits: Sequence[Edit]


def run(
    instance: Instance,
    options: Options,
    report: Report,
    progress: publish.Progress = publish.silent,
) -> int:
    """Run the steps that `options`, validated, choose; return the exit status."""
    path = destination.absolute(options.dest)
    export = Export(instance, path, options, report, progress)
    if options.check:
        return check(export)
    prepared = prepare(export)
    release = publish_release(export, prepared.plan, prepared.read)
    with _half_way(path):
        return finish(export, release, prepared)


def prepare(export: Export) -> Prepared:
    """Plan the release, and have everything examined that a later step could stumble over.

    What costs least comes first. Raises ConfigError and Refused, and leaves everything as it is.
    """
    from kallithea_tune.static_export import switch

    _ = export.web_user  # raises for an unknown one
    if export.options.switch:
        switch.require_writable(export.instance)
    places = configure.places(export)
    site = configure.site(export)
    if export.options.verify:
        _reach(export.options.verify)
    plan, read = _plan(export)
    _report_plan(export, plan)
    return Prepared(
        plan,
        read,
        configure.generate(export, site, plan.after, places) if site else [],
        _edits(export, plan.after) if export.options.switch else [],
    )


def finish(export: Export, release: Manifest, prepared: Prepared) -> int:
    """Do what follows when the files are published; return the exit status."""
    options = export.options
    configure.write(export, prepared.configuration)
    status = verify(export, release) if options.verify else EXIT_OK
    if options.switch and status == EXIT_OK:
        switch_off(export, release, prepared.edits)
    elif options.switch:
        export.report.say(
            "the web server does not serve everything yet, so "
            f"{export.instance.path} was not changed"
        )
    return status


@contextlib.contextmanager
def _half_way(path: str) -> Iterator[None]:
    """Raise TuneError for what fails inside: `path` is published, so nothing was refused."""
    try:
        yield
    except (ConfigError, Refused) as error:
        raise TuneError(f"{path} is published, but the run failed after that: {error}") from None


def _reach(url: str) -> None:
    """Raise ConfigError unless a web server answers at `url`, whatever it says."""
    from kallithea_tune.static_export.verify.client import Client

    client = Client(url)
    client.request("HEAD", "/", None, {})
    client.close()


def check(export: Export) -> int:
    """Report whether the export is stale, without loading the application.

    After an upgrade, the application may not start yet.
    """
    path, report = export.path, export.report
    state = freshness.state(export.instance.use, path, export.options.recipe)
    if state is None:
        report.row("missing", path)
        lost = destination.lost(path)
        report.say(f"{lost}; nothing is published" if lost else f"nothing is published at {path}")
        return EXIT_FINDINGS
    for kind, paths in state.differences.by_kind().items():
        for name in paths:
            report.row(kind, name)
    for name, damage in state.damaged.items():
        report.row("damaged", name, damage.value)
    if not state.stale:
        report.say(f"{path} is up to date with {state.manifest.app} {state.version}")
        return EXIT_OK
    report.row("stale", path, "; ".join(state.stale))
    reasons = ", ".join(state.stale)
    report.say(f"{path} is stale: {reasons}")
    if state.by_hand:
        report.say(f"first {state.by_hand}")
    words = freshness.renewal(export.instance, path, state.recipe)
    command = " ".join(map(shell_word, words))
    build = f"{shell_word(export.instance.program('kallithea-cli')[0])} front-end-build && "
    report.command(f"run: {build if state.unbuilt else ''}{command}")
    return EXIT_FINDINGS


def publish_release(export: Export, plan: Plan, read: int) -> Manifest:
    """Publish; return the current release, or in a dry run what it would be."""
    web_user, report = export.web_user, export.report
    if export.options.dry_run:
        report.say("dry run: nothing was written")
        return plan.after
    if plan.is_empty:
        _refuse_unreadable(export.path, web_user)
        if plan.before != plan.after:
            publish.record(plan, export.path)
        elif read:
            # Only spares the next run the reading, so an obstacle is none.
            with contextlib.suppress(TuneError):
                publish.record(plan, export.path)
        release = plan.after
    else:
        release = publish.publish(
            plan, export.path, export.progress, lambda path: _refuse_unreadable(path, web_user)
        )
        _report_published(export, release)
    _note_access(export)
    return release


def _plan(export: Export) -> tuple[Plan, int]:
    """Plan the release; options of the recipe that were not given are as in the previous one.

    Returns also how many files of the current release had to be read for it.
    """
    before = destination.published(export.path)
    recipe = export.options.recipe.applied_to(before.recipe if before else Recipe())
    access.group_id(recipe.group)
    destination.check_apart(export.path, [*code(export.instance.use), *recipe.overlays])
    export.progress("querying the application", 0, 1)
    served = source.served(export.instance, before, recipe)
    for note in served.notes:
        export.report.note(note)
    destination.check_apart(export.path, served.roots)
    condition = integrity.inspect(before, export.path) if before else integrity.Condition({})
    lost = destination.lost(export.path)
    if lost:
        export.report.note(f"{lost}; every file is published again, with the current time")
    export.progress("", 0, 0)
    return make(before, served, recipe, condition.damaged, bool(lost)), condition.read


def _report_plan(export: Export, plan: Plan) -> None:
    after, report = plan.after, export.report
    megabytes = sum(item.file.size for item in after.files.values()) / 1e6
    report.say(f"{after.app} {after.version}: {len(after.files)} files, {megabytes:.1f} MB")
    if plan.before and after.recipe.arguments:
        report.command(f"options: {after.recipe.arguments}")
    for directory in after.recipe.overlays:
        inside = os.path.join(directory, "")
        paths = [path for path, item in after.files.items() if item.file.source.startswith(inside)]
        report.paths("overlay", paths, f"from {directory}")
    report.paths("left out", after.left_out)
    _report_unpublished(plan, report)
    if plan.is_empty:
        report.say(f"{export.path} is up to date; nothing to do")
        return
    if plan.before and not plan.links:
        report.say("every file is written again, because --how, --mode or --group changed")
    report.paths("new", plan.differences.new)
    report.paths("changed", plan.differences.changed)
    for damage in integrity.Damage:
        paths = [path for path, found in plan.damaged.items() if found is damage]
        report.paths("damaged", paths, f"damaged ({damage.value})")
    if plan.replaced:
        report.paths("replaced", plan.replaced, "replaced under a URL that browsers cache for good")
        report.note(
            "browsers that have the older content keep it until a reload with Ctrl+Shift+R, or "
            f"until Kallithea is no longer {after.version}; from now on it is revalidated"
        )
    report.paths("kept", plan.kept, "kept from before")
    report.paths("gone", plan.removed)
    if plan.compressing:
        for path, coding in plan.compressing:
            report.row("compress", path, coding)
        report.say(f"{len(plan.compressing)} variants to compress")
    _report_missing(export, after)


def _report_missing(export: Export, release: Manifest) -> None:
    """Say which stylesheets refer to files that are not there; pages work without them."""
    prefix = export.instance.prefix
    if export.options.server.prefix is not None:
        prefix = export.options.server.prefix
    found = stylesheets.missing(release.files, prefix, stylesheets.text_of)
    for path in dict.fromkeys(item.path for item in found):
        references = [item.reference for item in found if item.path == path]
        export.report.rows += [Row("missing", path, reference) for reference in references]
        export.report.note(
            f"{path} refers to {counted(len(references), 'missing file')}: "
            f"{first_of(references, 3)}"
        )


def _report_unpublished(plan: Plan, report: Report) -> None:
    for reason in dict.fromkeys(item.reason for item in plan.unpublished):
        paths = [item.source for item in plan.unpublished if item.reason == reason]
        report.paths("not published", paths, f"not published, because {reason}")


def _report_published(export: Export, release: Manifest) -> None:
    codings = [variant.coding for variant in release.variants()]
    counts = ", ".join(f"{coding} {codings.count(coding)}" for coding in release.recipe.codings)
    export.report.row("published", export.path)
    export.report.say(f"published to {export.path}" + (f"; variants: {counts}" if counts else ""))


def _refuse_unreadable(directory: str, web_user: Optional[access.Reader]) -> None:
    obstacle = access.obstacle(web_user, directory) if web_user else ""
    if web_user and obstacle:
        raise Refused(
            f"{web_user.name} could not read {obstacle}; nothing was published. "
            "Change its permissions, or give another --web-user"
        )


def _note_access(export: Export) -> None:
    usual = None if export.options.web_user else access.usual_reader()
    obstacle = access.obstacle(usual, export.path) if usual else ""
    if usual and obstacle:
        export.report.note(
            f"{usual.name} cannot read {obstacle}; if the web server runs as another user, "
            "give it with --web-user"
        )
    selinux = access.selinux_note(export.path)
    if selinux:
        export.report.note(selinux)


def verify(export: Export, release: Manifest) -> int:
    """Try on the running server what browsers, hg and git do with it."""
    from kallithea_tune.static_export.verify import site

    url, report = export.options.verify, export.report
    credentials = login(export.options.verify_login)
    target = site.target_of(export.instance, url, release, credentials)
    found = site.verify(target, os.path.realpath(export.path), release, export.progress)
    report.rows += [Row("page", path, kind) for kind, path in found.pages.items()]
    report.say("pages opened: " + (", ".join(found.pages) or "none"))
    report.say("tried as clients do: " + ", ".join(site.PROBES))
    if found.unseen:
        hint = "" if credentials else " (--verify-login opens those behind the login)"
        report.note("pages that no link led to: " + ", ".join(found.unseen) + hint)
    for note in found.notes:
        report.note(note)
    for number, problem in enumerate(found.problems):
        line = f"{problem.path} ({problem.coding}): {problem.message}"
        if number < PROBLEMS_SHOWN:
            report.output("problem", problem.path, line + "\n")
        else:
            report.row("problem", problem.path, line)
    count = len(found.problems)
    outcome = f"{count} problem{'s'[: count != 1]}" if count else "all as published"
    report.say(f"{len(release.files)} files requested from {url}: {outcome}")
    return EXIT_FINDINGS if found.problems else EXIT_OK


def _edits(export: Export, release: Manifest) -> list[Edit]:
    """Return how ``--switch`` changes the ini file; it was tested with the application."""
    from kallithea_tune.static_export import switch

    if not release.of_application:
        raise ConfigError(
            "every file is replaced by an --overlay, so --switch has nothing to test; "
            "leave one file out of the overlays"
        )
    edits = switch.plan(export.instance, release.of_application[0], export.path)
    return [edit for edit in edits if not edit.is_empty]


def switch_off(export: Export, release: Manifest, edits: Sequence[Edit]) -> None:
    """Turn the application's own serving off, and record the export for perf-check."""
    from kallithea_tune.static_export import switch

    instance, report = export.instance, export.report
    if not edits:
        report.say("the application is switched already; the ini file stays unchanged")
        return
    for edit in edits:
        report.output("change", edit.path, edit.diff)
    if export.options.dry_run:
        return
    backups = switch.apply(instance, edits, release.of_application[0])
    for edit, backup in zip(edits, backups):
        report.row("written", edit.path, backup)
        report.say(f"{edit.path} was changed")
    report.say(f"tested: the application no longer serves /{release.of_application[0]}; restart it")
    moves = [
        f"mv {shell_word(backup)} {shell_word(edit.path)}" for edit, backup in zip(edits, backups)
    ]
    report.command("to go back: " + " && ".join(moves))
