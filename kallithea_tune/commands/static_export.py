"""The command ``gearbox static-export``."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any, Optional, Sequence

from gearbox.command import Command

from kallithea_tune.commands.base import TuneCommand

if TYPE_CHECKING:
    from kallithea_tune.statics.manifest import Manifest
    from kallithea_tune.statics.publish import Plan
    from kallithea_tune.statics.source import Source

STALE = 1


def _first(paths: Sequence[str]) -> str:
    return ": " + ", ".join(paths[:3]) + (", ..." if paths[3:] else "") if paths else ""


class StaticExportCommand(TuneCommand, Command):  # type: ignore[misc]
    """Publish what the application serves statically, for the web server to serve.

    DEST becomes a link to the newest release in DEST.releases, swapped by one rename. With --server, the web
    server's configuration is written, too, and checked by that server; --verify asks the running server for every
    file; --switch turns the application's own serving off, once asking it has shown that this works.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the command's own options; gearbox has taken its own before."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add = parser.add_argument
        add("dest", metavar="DEST", help="where the web server finds the files")
        add("-c", "--config", metavar="INI", required=True, help="ini file, as my.ini or my.ini#name")
        add("-n", "--dry-run", action="store_true", help="show what would change, and change nothing")
        add("--check", action="store_true", help="exit with 1 when what is published is not what the app has now")
        add("--overlay", metavar="DIR", action="append", default=[], help="lay these files over the application's")
        add("--prune", action="store_true", help="leave source maps and files that nothing refers to out")
        add("--how", choices=("copy", "hardlink", "symlink"), default="copy", help="how files get there (copy)")
        add("--compress", metavar="CODINGS", default="gzip", help="variants to make: gzip,br,zstd (gzip); '' for none")
        add("--mode", type=lambda text: int(text, 8), default=0o644, help="mode of the files (644)")
        add("--group", help="group of the files, such as that of the web server")
        add("--keep", metavar="N", type=int, default=1, help="earlier releases whose files stay reachable (1)")
        add("--server", choices=("apache", "caddy", "haproxy", "lighttpd", "nginx"), help="write its configuration")
        add("-o", "--output", metavar="FILE", default="", help="where to write the configuration; else to stdout")
        add("--snippet-only", action="store_true", help="only what belongs inside a site that you have")
        add("--prefix", help="path in front of all URLs; that of the ini file if not given")
        add("--server-name", metavar="HOST", default="kallithea.example.com", help="host name of the site")
        add("--port", type=int, default=80, help="port that the web server listens on (80)")
        add("--backend", metavar="URL", action="append", default=[], help="where Kallithea listens; repeatable")
        add("--vcs-backend", metavar="URL", action="append", default=[], help="a pool of its own for hg and git")
        add("--balance", choices=("round-robin", "sticky"), default="round-robin", help="how pages are shared out")
        add("--switch", action="store_true", help="turn the application's own serving off in the ini file")
        add("--verify", metavar="URL", help="ask the running web server for every file")
        return parser

    def act(self, args: Any) -> int:
        """Carry out what the arguments ask for."""
        from kallithea_tune import instance
        from kallithea_tune.statics import compress, manifest, publish, source

        codings = compress.parse_codings(args.compress)
        loaded = self.instance = instance.load(args.config)
        published = manifest.read(args.dest)
        found = source.find(loaded, published)
        todo = self._plan(args, found, published, codings)
        published = publish.check_destination(args.dest, found.roots)
        if args.check:
            return self._check(args, todo)
        self._describe(todo, args)
        if not args.dry_run and not todo.nothing:
            self._publish(args, todo)
        release = manifest.read(args.dest) or todo.after
        if args.server:
            self._configure(args, release, codings)
        if args.switch:
            self._switch(args, release)
        if args.verify:
            return self._verify(args, release, codings)
        return 0

    def _plan(self, args: Any, found: Source, published: Optional[Manifest], codings: list[str]) -> Plan:
        from kallithea_tune.probes.beaker_config import package_directory
        from kallithea_tune.statics import collect, publish, source

        known = published.sources if published else {}
        files = collect.collect([*found.roots, *args.overlay], known)
        assert self.instance
        package = package_directory(self.instance.use)
        if not published or (published.version, published.roots) != (found.version, found.roots) or args.prune:
            source.check_complete(files, package)
        if args.prune:
            left_out = source.unreferenced(files, package)
            files = {path: file for path, file in files.items() if path not in set(left_out)}
            self._say("left out: %d files that nothing refers to%s" % (len(left_out), _first(left_out)))
        for directory in args.overlay:
            laid = [path for path, file in files.items() if file.source.startswith(os.path.join(directory, ""))]
            self._say("overlay: %d files come from %s%s" % (len(laid), directory, _first(laid)))
        return publish.plan(published, files, found.app, found.version, args.how, codings, args.keep, found.roots)

    def _describe(self, todo: Plan, args: Any) -> None:
        size = sum(item.file.size for item in todo.after.files.values())
        self._say("%s %s: %d files, %.1f MB" % (todo.after.app, todo.after.version, len(todo.after.files), size / 1e6))
        if todo.nothing:
            self._say("%s has just that; nothing to do" % args.dest)
            return
        for word, paths in (("new", todo.added), ("changed", todo.changed), ("gone", todo.removed),
                            ("kept from before", todo.kept)):
            if paths:
                self._say("  %d %s%s" % (len(paths), word, _first(paths)))
        if todo.compressing:
            self._say("  %d variants to compress" % len(todo.compressing))
        if args.dry_run:
            self._say("dry run: nothing was written")

    def _publish(self, args: Any, todo: Plan) -> None:
        from kallithea_tune import output
        from kallithea_tune.errors import ConfigError
        from kallithea_tune.statics import publish

        group = None
        if args.group:
            import grp

            try:
                group = grp.getgrnam(args.group).gr_gid
            except KeyError:
                raise ConfigError("--group %s: there is no such group" % args.group) from None
        progress = output.Progress(enabled=not self.quiet)
        try:
            done = publish.carry_out(todo, args.dest, args.mode, group, max(1, args.keep), progress)
        finally:
            progress("", 0, 0)
        saved = [
            "%s %d" % (coding, sum(bool(item.variants.get(coding)) for item in done.files.values()))
            for coding in todo.codings]
        self._say("published to %s%s" % (args.dest, "; variants: " + ", ".join(saved) if saved else ""))

    def _check(self, args: Any, todo: Plan) -> int:
        if todo.nothing:
            self._say("%s is what %s %s serves" % (args.dest, todo.after.app, todo.after.version))
            return 0
        self._say("%s is stale: %d new, %d changed, %d gone; run gearbox static-export again" % (
            args.dest, len(todo.added), len(todo.changed), len(todo.removed)))
        return STALE

    def _configure(self, args: Any, release: Manifest, codings: list[str]) -> None:
        from kallithea_tune.statics import configure, files
        from kallithea_tune.statics.servers import backend

        assert self.instance
        site = configure.site_of(
            self.instance, args.dest, release, codings, args.server, [backend(url) for url in args.backend],
            [backend(url, "--vcs-backend") for url in args.vcs_backend], args.prefix, args.balance == "sticky",
            args.server_name, args.port)
        made = configure.configure(self.instance, site, args.server, args.snippet_only, args.output)
        for note in made.notes:
            self._say("note: " + note)
        if not args.output:
            sys.stdout.write(made.text)
            return
        for path, text in ((args.output, made.text), (args.output + ".lua", made.script)):
            if text is not None:
                diff = files.difference(path, text)
                if args.dry_run:
                    sys.stdout.write(diff)
                elif diff:
                    files.replace(path, text)
                self._say("%s %s" % (path, "is as it should be" if not diff else
                                     "would change" if args.dry_run else "written"))

    def _switch(self, args: Any, release: Manifest) -> None:
        from kallithea_tune.statics import switch

        assert self.instance
        # An overlay's file is none that the application could serve.
        own = [path for path, item in sorted(release.files.items()) if item.file.source.startswith(release.roots)]
        edit = switch.plan(self.instance, own[0])
        if edit is None:
            self._say("the application serves no static files itself already; the ini file stays as it is")
            return
        sys.stdout.write(self._redacted(edit.diff))
        if not args.dry_run:
            self._say("%s is changed, the old one is %s; restart Kallithea" % (edit.path, switch.carry_out(edit)))

    def _verify(self, args: Any, release: Manifest, codings: list[str]) -> int:
        from kallithea_tune.statics.verify import verify

        problems = list(verify(args.verify, os.path.realpath(args.dest), release, codings))
        for problem in problems[:50]:
            print("%s (%s): %s" % (problem.path, problem.coding, problem.said))
        self._say("%d files asked for at %s: %s" % (
            len(release.files), args.verify, "%d problems" % len(problems) if problems else "all as published"))
        return STALE if problems else 0

    def _say(self, text: str) -> None:
        if not self.quiet:
            # Standard output may be the configuration.
            print(self._redacted(text), file=sys.stderr)
