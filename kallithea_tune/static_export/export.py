"""The whole export, one step after the other; each step is a function that can be called alone."""

from __future__ import annotations

import dataclasses
import os
import shlex
from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Sequence

from kallithea_tune.config.instance import Instance
from kallithea_tune.db.url import given_url
from kallithea_tune.errors import EXIT_FINDINGS, EXIT_OK, ConfigError, Refused
from kallithea_tune.static_export import access, compress, destination, freshness, publish, source
from kallithea_tune.static_export.manifest import Manifest, Recipe
from kallithea_tune.static_export.plan import Plan, make
from kallithea_tune.static_export.report import Report


@dataclass(frozen=True)
class Options:
    """What can be chosen; the meaning of each is that of the command's option of the same name.

    `recipe` holds the fields of a `Recipe` that were given.
    """

    dest: str
    recipe: Mapping[str, Any] = field(default_factory=dict)
    web_user: str = ""
    dry_run: bool = False
    check: bool = False
    server: str = ""
    output: str = ""
    snippet_only: bool = False
    prefix: Optional[str] = None
    server_name: str = "kallithea.example.com"
    port: int = 80
    backend: Sequence[str] = ()
    vcs_backend: Sequence[str] = ()
    balance: str = "round-robin"
    switch: bool = False
    verify: str = ""
    verify_login: str = ""


def run(instance: Instance, options: Options, report: Report, progress: publish.Progress) -> int:
    """Do what the options ask for and return the exit status; `report` is told what was found and
    done.
    """
    where = destination.absolute(options.dest)
    _check_words(options)
    given = _given(options.recipe)
    if options.check:
        return check(instance, where, given, report)
    export = Export(instance, where, options, report)
    release = export.publish(given, progress)
    if options.server:
        configure(instance, where, options, release, report)
    status = verify(where, options, release, report) if options.verify else EXIT_OK
    if options.switch and status != EXIT_OK:
        raise Refused(
            f"the web server does not serve all of it yet, so nothing was switched off in {instance.path}"
        )
    if options.switch:
        switch_off(instance, where, options.dry_run, release, report)
    return status


def _check_words(options: Options) -> None:
    """Tell before anything is done what could only fail at the end. Raises ConfigError."""
    from kallithea_tune.static_export.client import Client
    from kallithea_tune.static_export.webservers import backend

    if options.check and (options.server or options.switch or options.verify):
        raise ConfigError(
            "--check looks and does nothing else: give it without --server, --switch and --verify"
        )
    if options.dry_run and options.verify:
        raise ConfigError(
            "--dry-run publishes nothing that --verify could ask for; give one of the two"
        )
    if not options.server and (options.output or options.backend or options.vcs_backend):
        raise ConfigError(
            "--output and --backend are about a web server's configuration; name it with --server"
        )
    if options.output and (
        os.path.isdir(options.output)
        or not os.path.isdir(os.path.dirname(os.path.abspath(options.output)))
    ):
        raise ConfigError(f"--output {options.output} is no file in a directory that exists")
    for option, urls in (("--backend", options.backend), ("--vcs-backend", options.vcs_backend)):
        for url in urls:
            backend(url, option)
    if options.verify:
        Client(options.verify)
        _login(options.verify_login)
    elif options.verify_login:
        raise ConfigError("--verify-login is for --verify URL; give both")


def _given(recipe: Mapping[str, Any]) -> dict[str, Any]:
    given = dict(recipe)
    if "codings" in given:
        given["codings"] = compress.parse_codings(given["codings"])
    if "overlays" in given:
        given["overlays"] = tuple(
            os.path.abspath(directory) for directory in given["overlays"] if directory
        )
    return given


def check(instance: Instance, where: str, given: Mapping[str, Any], report: Report) -> int:
    """Say whether the export is stale. The application is not loaded: after an upgrade it may not
    yet start.
    """
    state = freshness.state(instance.use, where, given)
    if state is None:
        report.row("missing", where)
        report.say(f"nothing is published at {where}")
        return EXIT_FINDINGS
    for kind, paths in {**state.differences._asdict(), "damaged": state.damaged}.items():
        report.rows += [[kind, path, ""] for path in paths]
    if not state.stale:
        report.say(f"{where} is what {state.manifest.app} {state.version} serves")
        return EXIT_OK
    report.row("stale", where, "; ".join(state.stale))
    report.say("{} is stale: {}".format(where, ", ".join(state.stale)))
    report.say("run: " + freshness.renewal(instance, where, state.recipe), whole=True)
    return EXIT_FINDINGS


class Export:
    """A release at the absolute path `where`, made from what the application of `instance`
    serves.
    """

    def __init__(self, instance: Instance, where: str, options: Options, report: Report) -> None:
        self.instance, self.where, self.options, self.report = instance, where, options, report
        # All that was given wrongly is told before anything is looked at.
        self.reader = access.reader(options.web_user) if options.web_user else None

    def publish(self, given: Mapping[str, Any], progress: publish.Progress) -> Manifest:
        """Publish what is to be published and return the release that stands then, or would after a
        dry run.

        What is not `given` of the recipe is as in the release that stands.
        """
        before = destination.published(self.where)
        recipe = dataclasses.replace(before.recipe if before else Recipe(), **given)
        access.group_id(recipe.group)
        package = source.package_of(self.instance)
        destination.check_apart(self.where, [*filter(None, [package]), *recipe.overlays])
        progress("asking the application", 0, 1)
        served = source.served(self.instance, before, recipe)
        destination.check_apart(self.where, served.roots)
        damaged = freshness.damaged(before, os.path.realpath(self.where)) if before else []
        todo = make(before, served, recipe, damaged)
        progress("", 0, 0)
        self._describe(todo)
        if self.options.dry_run:
            self.report.say("dry run: nothing was written")
            return todo.after
        if not todo.nothing:
            done = publish.carry_out(todo, self.where, progress, self._refuse_unreadable)
            self._done(done)
        else:
            self._refuse_unreadable(self.where)
            if todo.before != todo.after:
                publish.record(todo, self.where)
            done = todo.after
        self._notes()
        return done

    def _describe(self, todo: Plan) -> None:
        after, say = todo.after, self.report.say
        size = sum(item.file.size for item in after.files.values())
        say("%s %s: %d files, %.1f MB" % (after.app, after.version, len(after.files), size / 1e6))
        if todo.before and after.recipe.words:
            say(f"options: {after.recipe.words}", whole=True)
        for directory in after.recipe.overlays:
            inside = os.path.join(directory, "")
            laid = [
                path for path, item in after.files.items() if item.file.source.startswith(inside)
            ]
            self.report.list("overlay", laid, f"from {directory}")
        self.report.list("left out", after.left_out)
        if todo.nothing:
            say(f"{self.where} has just that; nothing to do")
            return
        if todo.before and todo.before.recipe.making != after.recipe.making:
            say("every file is made anew, for --how, --mode or --group is another")
        for kind, paths in {
            **todo.differences._asdict(),
            "damaged": todo.damaged,
            "kept": todo.kept,
        }.items():
            if kind != "gone":
                self.report.list(kind, paths, "kept from before" if kind == "kept" else "")
        self.report.list("gone", todo.removed)
        if todo.compressing:
            self.report.rows += [["compress", path, coding] for path, coding in todo.compressing]
            say("%d variants to compress" % len(todo.compressing))

    def _done(self, done: Manifest) -> None:
        made = [coding for _, coding, _ in done.variants()]
        variants = ", ".join(
            "%s %d" % (coding, made.count(coding)) for coding in done.recipe.codings
        )
        self.report.row("published", self.where)
        self.report.say(
            "published to {}{}".format(self.where, "; variants: " + variants if variants else "")
        )

    def _refuse_unreadable(self, directory: str) -> None:
        obstacle = access.obstacle(self.reader, directory) if self.reader else ""
        if self.reader and obstacle:
            raise Refused(
                f"{self.reader.name} could not read {obstacle}, so nothing was published; open it, or name another --web-user"
            )

    def _notes(self) -> None:
        usual = None if self.reader else access.usual_reader()
        obstacle = access.obstacle(usual, self.where) if usual else ""
        if usual and obstacle:
            self.report.note(
                f"{usual.name} cannot read {obstacle}; --web-user names the web server's user if that is another"
            )
        said = access.selinux_note(self.where)
        if said:
            self.report.note(said)


def configure(
    instance: Instance, where: str, options: Options, release: Manifest, report: Report
) -> None:
    """Write the web server's configuration to the file asked for, or show it."""
    from kallithea_tune.static_export import configure as configuring
    from kallithea_tune.static_export import generated_files
    from kallithea_tune.static_export.webservers import backend

    site = configuring.site_of(
        instance,
        where,
        release,
        release.recipe.codings,
        options.server,
        [backend(url) for url in options.backend],
        [backend(url, "--vcs-backend") for url in options.vcs_backend],
        options.prefix,
        options.balance == "sticky",
        options.server_name,
        options.port,
    )
    made = configuring.configure(
        instance, site, options.server, options.snippet_only, options.output
    )
    for note in made.notes:
        report.note(note)
    if not options.output:
        report.show("configuration", "", made.text)
        return
    for path, text in ((options.output, made.text), (options.output + ".lua", made.script)):
        if text is not None:
            diff = generated_files.difference(path, text)
            if options.dry_run:
                report.show("configuration", path, diff)
            elif diff:
                generated_files.replace(path, text)
                report.row("written", path)
            report.say(
                "{} {}".format(
                    path,
                    "is as it should be"
                    if not diff
                    else "would change"
                    if options.dry_run
                    else "written",
                )
            )


def verify(where: str, options: Options, release: Manifest, report: Report) -> int:
    """Ask the running web server for every file of the release, and for the pages that need
    them.
    """
    from kallithea_tune.static_export.client import Client
    from kallithea_tune.static_export.crawl import Crawl
    from kallithea_tune.static_export.verify import verify as problems_of

    url = options.verify
    login = _login(options.verify_login)
    problems = list(problems_of(url, os.path.realpath(where), release, release.recipe.codings))
    client = Client(url)
    crawl = Crawl(client)
    crawl.walk(login)
    client.close()
    problems += crawl.problems
    report.rows += [["page", path, kind] for kind, path in crawl.seen.items()]
    report.say("pages opened: " + (", ".join(crawl.seen) or "none"))
    if crawl.unseen:
        report.note(
            "pages that no link led to: {}{}".format(
                ", ".join(crawl.unseen),
                "" if login else " (--verify-login opens those for people who are logged in)",
            )
        )
    for number, problem in enumerate(problems):
        line = f"{problem.path} ({problem.coding}): {problem.said}"
        if number < 50:
            report.show("problem", problem.path, line + "\n")
        else:
            report.row("problem", problem.path, line)
    report.say(
        "%d files asked for at %s: %s"
        % (
            len(release.files),
            url,
            "%d problems" % len(problems) if problems else "all as published",
        )
    )
    return EXIT_FINDINGS if problems else EXIT_OK


def _login(given: str) -> str:
    """Return ``user:password`` from where the option says; it is never an argument, which all
    processes could see.
    """
    if not given:
        return ""
    if not given.startswith(("env:", "file:")):
        raise ConfigError("--verify-login takes env:NAME or file:PATH, where user:password is")
    found = given_url(given, "--verify-login")
    if ":" not in found:
        raise ConfigError(f"--verify-login: what {given} holds does not read user:password")
    return found


def switch_off(
    instance: Instance, where: str, dry_run: bool, release: Manifest, report: Report
) -> None:
    """Turn the application's own serving off, and write down for perf-check where the export is."""
    from kallithea_tune.static_export import switch

    if not release.own:
        raise ConfigError(
            "every file of the application is laid over, so none can be asked for; leave one out"
        )
    edits = [edit for edit in switch.plan(instance, release.own[0], where) if not edit.is_empty]
    if not edits:
        report.say(
            "the application serves no static files itself already; the ini file stays as it is"
        )
        return
    for edit in edits:
        report.show("change", edit.path, edit.diff)
    if dry_run:
        return
    backups = switch.carry_out(instance, edits, release.own[0])
    for edit, backup in zip(edits, backups):
        report.row("written", edit.path, backup)
        report.say(f"{edit.path} is changed")
    report.say("the application no longer serves the files; restart it")
    moves = [
        f"mv {shlex.quote(backup)} {shlex.quote(edit.path)}" for edit, backup in zip(edits, backups)
    ]
    report.say("to go back: " + " && ".join(moves), whole=True)
