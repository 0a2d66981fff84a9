"""Starting, watching and ending processes, on small real ones."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from cli.local.children import Child, ChildFailed, Process
from cli.local.home import make_secrets, open_home
from cli.local.stack import Stack, choose_ports
from cli.local.supervisor import keep_running

READY = "print('ready', flush=True)"
FOR_EVER = "import signal; signal.pause()"

# Starts a tethered `sleep` and says its pid; then waits to be killed.
PARENT = """
import asyncio, pathlib, signal
from cli.local.children import spawn
async def main():
    folder = pathlib.Path(".").absolute()
    child = await spawn(("/bin/sleep", "60"), log=folder / "sleep.log", folder=folder, environment={},
                        death_signal=signal.SIGTERM)
    print(child.pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""

NewChild = Callable[[str], Child]


@pytest.fixture
async def new_child(tmp_path: Path) -> AsyncIterator[NewChild]:
    """Makes a child that runs a line of Python and is healthy once it has said `ready`."""
    stack = Stack(home=open_home(tmp_path), secrets=make_secrets(), ports=choose_ports())
    children: list[Child] = []

    async def says_ready(stack: Stack) -> bool:
        return "ready" in stack.home.log("tiny").read_text()

    def make(code: str) -> Child:
        process = Process(
            name="tiny",
            command=lambda _: (sys.executable, "-c", code),
            environment=lambda _: {"SKUTRAIL_OF_ITS_OWN": "1"},
            is_healthy=says_ready,
            stop_within_s=0.3,
        )
        children.append(Child(process, stack))
        return children[-1]

    yield make
    for child in children:
        await child.stop()


async def wait_until(condition: Callable[[], bool], within_s: float = 10) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - a process sets no event
            await asyncio.sleep(0.02)


async def test_a_child_inherits_nothing_of_the_environment_but_what_is_named(
    new_child: NewChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "private")
    child = new_child("import json, os; print(json.dumps(dict(os.environ)))")

    await child.start()
    await child.wait_ended()

    inherited = json.loads(child.log_file.read_text())
    assert inherited.keys() - {"LC_CTYPE"} == {"PATH", "HOME", "LANG", "SKUTRAIL_OF_ITS_OWN"}


async def test_a_child_that_ends_before_it_is_healthy_is_told_with_its_last_words(new_child: NewChild) -> None:
    child = new_child("import sys; sys.exit('no such database')")
    await child.start()

    with pytest.raises(ChildFailed, match=r"tiny ended \(exit code 1\)\n    no such database"):
        await child.wait_healthy()


async def test_a_child_that_does_not_stop_is_killed(new_child: NewChild) -> None:
    child = new_child(f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {READY}; {FOR_EVER}")
    await child.start()
    await child.wait_healthy()

    assert await child.stop() is False
    assert await child.wait_ended() == -signal.SIGKILL


async def test_nothing_survives_the_kill_of_its_parent(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, cwd=tmp_path, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    sleeper = psutil.Process(int(await parent.stdout.readline()))
    assert sleeper.is_running()

    parent.kill()
    await parent.wait()

    await wait_until(lambda: not sleeper.is_running() or sleeper.status() == psutil.STATUS_ZOMBIE)


async def test_a_killed_child_is_named_and_comes_back(new_child: NewChild) -> None:
    child, lines = new_child(f"{READY}; {FOR_EVER}"), []
    await child.start()
    await child.wait_healthy()
    keeper = asyncio.create_task(keep_running(child, lines.append))

    await child.kill(signal.SIGKILL)
    await wait_until(lambda: "tiny is ready again" in lines)

    keeper.cancel()
    assert lines[0].startswith("tiny ended (signal SIGKILL)\n    ready")
    assert child.is_running()


async def test_a_child_that_keeps_ending_is_started_less_and_less_often(new_child: NewChild) -> None:
    child, lines = new_child(READY), []
    await child.start()
    keeper = asyncio.create_task(keep_running(child, lines.append))

    await wait_until(lambda: sum("ended" in line for line in lines) >= 3)

    keeper.cancel()
    pauses = [line.rpartition("again in ")[2] for line in lines if "ended" in line]
    assert pauses[:3] == ["0.2 s", "0.4 s", "0.8 s"]
