"""Ties a program to the process that started it, then becomes that program.

Run as a script by `children.spawn`, isolated (`python -I -S`), so it imports nothing of Skutrail and little of the
standard library. What can only be set from inside the new process belongs here:

- the parent-death signal, so that nothing survives a `kill -9` of the supervisor;
- for PostgreSQL under root, another user, and where folders bar that user's way, one capability kept across the change
  (capabilities(7), "Effect of user ID changes on capabilities", and prctl(2), PR_CAP_AMBIENT).

Usage: tether.py PARENT_PID SIGNAL USER|- KEEP_DAC_OVERRIDE(0|1) PROGRAM [ARGUMENT...]
"""

import ctypes
import os
import pwd
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def main(parent_pid: int, death_signal: int, user: str, keeps_dac_override: bool, command: list[str]) -> None:
    if user != "-":
        _become(user, keeps_dac_override)
    # After the change of user, which clears it.
    _prctl(_PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent_pid:
        sys.exit("the process that started this one is gone")
    # Python ignores SIGPIPE, and an ignored signal stays ignored across exec.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execv(command[0], command)  # noqa: S606 - becoming a program is the purpose


def _become(user: str, keeps_dac_override: bool) -> None:
    account = pwd.getpwnam(user)
    if keeps_dac_override:
        _prctl(_PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    if keeps_dac_override:
        _hold_only(_CAP_DAC_OVERRIDE)
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0)


def _hold_only(capability: int) -> None:
    """Sets effective, permitted and inheritable to this one capability: ambient needs the latter two."""
    bit = 1 << capability
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    _check(_libc.capset(header, sets))


def _prctl(option: int, *arguments: int) -> None:
    _check(_libc.prctl(option, *(ctypes.c_ulong(argument) for argument in arguments)))


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4] == "1", sys.argv[5:])
