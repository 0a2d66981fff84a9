"""Places where a process can be made to die, to prove that whatever it leaves behind is taken up.

Nothing in the product arms one: only the tests start a process that does (tests/system/armed.py).
"""

from __future__ import annotations

import os
import signal

_armed: str | None = None


def arm(name: str) -> None:
    """The process dies, as by `kill -9`, when it reaches this place for the first time."""
    global _armed  # noqa: PLW0603 - one process, one failpoint
    _armed = name


def reach(name: str) -> None:
    """Names a place. Costs a comparison."""
    if name == _armed:
        os.kill(os.getpid(), signal.SIGKILL)
