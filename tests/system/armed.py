"""`python -m tests.system.armed NAME MODULE`: runs a process that dies at a failpoint, as by `kill -9`.

Nothing else arms one; tests start it by `armed` (faults.py).
"""

import runpy
import sys

from chassis import failpoints

if __name__ == "__main__":
    name, module = sys.argv[1:]
    failpoints.arm(name)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
