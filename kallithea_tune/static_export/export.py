"""The export, one step after the other: publish, configure, verify, switch off."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Optional, Sequence

from kallithea_tune.app.owner import owner_of
from kallithea_tune.app.package import code
from kallithea_tune.config.instance import Instance
from kallithea_tune.errors import EXIT_FINDINGS, EXIT_OK, ConfigError, Refused
from kallithea_tune.static_export.options import Options, login, validate
from kallithea_tune.static_export.release import access, destination, freshness, publish
from kallithea_tune.static_export.release.manifest import Manifest, Recipe
from kallithea_tune.static_export.release.plan import Plan, make
from kallithea_tune.static_export.report import Report, Row
from kallithea_tune.static_export.sources import source
from kallithea_tune.static_export.webservers import SCRIPT_SUFFIX, SERVERS
from kallithea_tune.system import interruption, written_path
from kallithea_tune.system.written_path import Place
from kallithea_tune.text import shell_word

PROBLEMS_SHOWN = 50
NEEDS_OUTPUT = "{} needs a script beside its configuration; give a file with --output"


@dataclass(frozen=True)
class Export:
    """What every step needs; `path` is the absolute destination."""

    instance: Instance
    path: str
    options: Options
    report: Report
    progress: publish.Progress = field(default=publish.silent)

    @property
    def web_user(self) -> Optional[access.Reader]:
        """The user of ``--web-user``. Raises ConfigError for an unknown one."""
        return access.reader(self.options.web_user) if self.options.web_user else None


def run(
    instance: Instance,
    options: Options,
    report: Report,
    progress: publish.Progress = publish.silent,
) -> int:
    """Run the steps that `options` choose; return the exit status."""
    path = destination.absolute(options.dest)
    validate(options)
    export = Export(instance, path, options, report, progress)
    if options.check:
        return check(export)
    places = _places(export)
    release = publish_release(export)
    if options.server.name:
        configure(export, release, places)
    status = verify(export, release) if options.verify else EXIT_OK
    if options.switch and status != EXIT_OK:
        raise Refused(
            f"the web server does not serve everything yet; {instance.path} was not changed"
        )
    if options.switch:
        switch_off(export, release)
    return status


def _places(export: Export) -> list[Place]:
    """Return where the configuration goes, and see that ``--switch`` can edit the ini file.

    Raises what would otherwise only be raised at the end of a run.
    """
    from kallithea_tune.static_export import generated_files, switch

    instance, server = export.instance, export.options.server
    output = server.output
    if export.options.switch:
        switch.require_writable(instance)
    has_script = bool(server.name and SERVERS[server.name].script)
    if has_script and not output:
        raise ConfigError(NEEDS_OUTPUT.format(server.name))
    if not output:
        return []
    others = {
        "the ini file": instance.path,
        "DEST": export.path,
        "the directory of releases": destination.releases_of(export.path),
        **{f"the overlay {path}": path for path in export.options.recipe.overlays or ()},
    }
    first = written_path.examine(output, generated_files.OUTPUT, others)
    if not has_script:
        return [first]
    if first.stream is not None:
        raise ConfigError(NEEDS_OUTPUT.format(server.name))
    script = written_path.examine(output + SCRIPT_SUFFIX, generated_files.OUTPUT, others)
    return [first, script]


def check(export: Export) -> int:
    """Report whether the export is stale, without loading the application.

    After an upgrade, the application may not start yet.
    """
    path, report = export.path, export.report
    state = freshness.state(export.instance.use, path, export.options.recipe)
    if state is None:
        report.row("missing", path)
        report.say(f"nothing is published at {path}")
        return EXIT_FINDINGS
    for kind, paths in {**state.differences.by_kind(), "damaged": state.damaged}.items():
        for name in paths:
            report.row(kind, name)
    if not state.stale:
        report.say(f"{path} is up to date with {state.manifest.app} {state.version}")
        return EXIT_OK
    report.row("stale", path, "; ".join(state.stale))
    reasons = ", ".join(state.stale)
    report.say(f"{path} is stale: {reasons}")
    words = freshness.renewal(export.instance, path, state.recipe)
    command = " ".join(map(shell_word, words))
    report.command(f"run: {command}")
    return EXIT_FINDINGS


def publish_release(export: Export) -> Manifest:
    """Publish; return the current release, or in a dry run what it would be.

    Options of the recipe that were not given are as in the previous release.
    """
    # Before anything else, so that wrong options are reported at once.
    web_user, report = export.web_user, export.report
    plan = _plan(export)
    _report_plan(export, plan)
    if export.options.dry_run:
        report.say("dry run: nothing was written")
        return plan.after
    if plan.is_empty:
        _refuse_unreadable(export.path, web_user)
        if plan.before != plan.after:
            publish.record(plan, export.path)
        release = plan.after
    else:
        release = publish.publish(
            plan, export.path, export.progress, lambda path: _refuse_unreadable(path, web_user)
        )
        _report_published(export, release)
    _note_access(export)
    return release


def _plan(export: Export) -> Plan:
    before = destination.published(export.path)
    recipe = export.options.recipe.applied_to(before.recipe if before else Recipe())
    access.group_id(recipe.group)
    destination.check_apart(export.path, [*code(export.instance.use), *recipe.overlays])
    export.progress("querying the application", 0, 1)
    served = source.served(export.instance, before, recipe)
    for note in owner_of(export.instance).notes("The application is loaded"):
        export.report.note(note)
    destination.check_apart(export.path, served.roots)
    damaged = freshness.damaged(before, os.path.realpath(export.path)) if before else []
    export.progress("", 0, 0)
    return make(before, served, recipe, damaged)


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
    if plan.is_empty:
        report.say(f"{export.path} is up to date; nothing to do")
        return
    if plan.before and not plan.links:
        report.say("every file is written again, because --how, --mode or --group changed")
    report.paths("new", plan.differences.new)
    report.paths("changed", plan.differences.changed)
    report.paths("damaged", plan.damaged)
    report.paths("kept", plan.kept, "kept from before")
    report.paths("gone", plan.removed)
    if plan.compressing:
        for path, coding in plan.compressing:
            report.row("compress", path, coding)
        report.say(f"{len(plan.compressing)} variants to compress")


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


def configure(export: Export, release: Manifest, places: Sequence[Place]) -> None:
    """Write the web server's configuration, and its second file, to `places`, or print it."""
    from kallithea_tune.static_export import configure as configuration
    from kallithea_tune.static_export import generated_files

    server, report = export.options.server, export.report
    site = configuration.site_of(export.instance, export.path, release, server)
    result = configuration.configure(export.instance, site, server)
    for note in result.notes:
        report.note(note)
    if not places:
        report.output("configuration", "", result.text)
    interruption.check()
    for place, text in zip(places, (result.text, result.script)):
        if text is None:
            continue
        path, diff = place.path, generated_files.diff(place, text)
        if not diff:
            report.say(f"{path} is up to date")
        elif export.options.dry_run:
            report.output("configuration", path, diff)
            report.say(f"{path} would change")
        else:
            kept = generated_files.replace(place, text)
            report.row("written", path, kept)
            report.say(f"{path} written" + (f"; the previous one is {kept}" if kept else ""))


def verify(export: Export, release: Manifest) -> int:
    """Request every file of the release from the running server, and the pages that use them."""
    from kallithea_tune.static_export.verify.client import Client
    from kallithea_tune.static_export.verify.crawl import Crawl
    from kallithea_tune.static_export.verify.files import verify as problems_of

    url, report = export.options.verify, export.report
    credentials = login(export.options.verify_login)
    problems = list(problems_of(url, os.path.realpath(export.path), release))
    client = Client(url)
    crawl = Crawl(client)
    crawl.run(credentials)
    client.close()
    problems += crawl.problems
    report.rows += [Row("page", path, kind) for kind, path in crawl.seen.items()]
    report.say("pages opened: " + (", ".join(crawl.seen) or "none"))
    if crawl.unseen:
        hint = "" if credentials else " (--verify-login opens those behind the login)"
        report.note("pages that no link led to: " + ", ".join(crawl.unseen) + hint)
    for number, problem in enumerate(problems):
        line = f"{problem.path} ({problem.coding}): {problem.message}"
        if number < PROBLEMS_SHOWN:
            report.output("problem", problem.path, line + "\n")
        else:
            report.row("problem", problem.path, line)
    outcome = f"{len(problems)} problems" if problems else "all as published"
    report.say(f"{len(release.files)} files requested from {url}: {outcome}")
    return EXIT_FINDINGS if problems else EXIT_OK


def switch_off(export: Export, release: Manifest) -> None:
    """Turn the application's own serving off, and record the export for perf-check."""
    from kallithea_tune.static_export import switch

    instance, report = export.instance, export.report
    if not release.of_application:
        raise ConfigError(
            "every file is replaced by an --overlay, so --switch has nothing to test; "
            "leave one file out of the overlays"
        )
    tested = release.of_application[0]
    edits = [edit for edit in switch.plan(instance, tested, export.path) if not edit.is_empty]
    if not edits:
        report.say("the application is switched already; the ini file stays unchanged")
        return
    for edit in edits:
        report.output("change", edit.path, edit.diff)
    if export.options.dry_run:
        return
    backups = switch.apply(instance, edits, tested)
    for edit, backup in zip(edits, backups):
        report.row("written", edit.path, backup)
        report.say(f"{edit.path} was changed")
    report.say("the application serves no static files and believes no client's host; restart it")
    moves = [
        f"mv {shell_word(backup)} {shell_word(edit.path)}" for edit, backup in zip(edits, backups)
    ]
    report.command("to go back: " + " && ".join(moves))
