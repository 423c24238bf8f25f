"""``python -m kallithea_tune``: the version, and how to run the commands, which are gearbox's."""

from __future__ import annotations

import argparse

from kallithea_tune import __doc__ as purpose
from kallithea_tune import __version__

COMMANDS = """\
The commands are run by gearbox, in the virtual environment of Kallithea:

  gearbox perf-check -c my.ini
  gearbox static-export -c my.ini DEST
  gearbox db-migrate -c my.ini --to file:URLFILE

"gearbox help COMMAND" and "man gearbox-COMMAND" have the details.
"""


def main() -> None:
    """Print what is asked for; exit with 2 for anything else."""
    parser = argparse.ArgumentParser(
        prog="python -m kallithea_tune",
        description=purpose,
        epilog=COMMANDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"kallithea-tune {__version__}")
    parser.parse_args()
    print(f"kallithea-tune {__version__}\n\n{COMMANDS}", end="")


if __name__ == "__main__":
    main()
