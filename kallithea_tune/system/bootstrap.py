"""The first code of every interpreter that we start; a script, run with ``python -I``.

It gives up privileges for good, and then runs a program, or answers the request of `child.call`.
Isolated, the interpreter has nothing of the working directory and of the user's site on its path;
from PYTHONPATH it gets what `programs.environment` leaves there.
"""

import os
import signal
import sys


def main() -> None:
    """Become the command of the arguments, or, without any, a child that answers a request."""
    give_up_privileges()
    die_with_parent()
    if sys.argv[1:]:
        os.execv(sys.argv[1], sys.argv[1:])
    # The package comes from where the parent has it; its neighbours there stay out of the path.
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    import kallithea_tune

    del sys.path[0]
    assert kallithea_tune.__path__
    sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    from kallithea_tune.system.child import answer

    answer()


def give_up_privileges() -> None:
    """Make the effective user and group the only ones: after seteuid(2) the others are root's."""
    user, group = os.geteuid(), os.getegid()
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
    if os.getresuid() != (user,) * 3 or os.getresgid() != (group,) * 3:
        sys.exit("the privileges of another user could not be given up")


def die_with_parent() -> None:
    """Have Linux kill this process when the command that started it is killed.

    The kernel forgets this when the user changes.
    """
    if sys.platform.startswith("linux"):
        import ctypes

        # linux/prctl.h; a subreaper stays the ancestor of daemons, so that they are found.
        pr_set_pdeathsig, pr_set_child_subreaper = 1, 36
        libc = ctypes.CDLL(None)
        libc.prctl(pr_set_pdeathsig, signal.SIGKILL)
        libc.prctl(pr_set_child_subreaper, 1)


if __name__ == "__main__":
    main()
