"""The whole system in the hands of a test: its address, its keys, and the power to end and start its processes."""

import signal
from dataclasses import dataclass
from pathlib import Path

from cli.local.home import keep_secrets, open_home
from cli.local.stack import Stack, choose_ports
from cli.local.system import System
from gateway import keys
from gateway.keys import Mode
from gateway.limits import Limit


@dataclass(frozen=True)
class RunningStack:
    """The whole system. A test that kills a process starts it again before it ends."""

    system: System
    key: str
    """A test key of the account `local`."""

    @property
    def base_url(self) -> str:
        return self.system.stack.base_url

    async def create_key(self, account: str, *, mode: Mode = "test", limit: Limit | None = None) -> str:
        return await create_key(self.system.stack, account, mode=mode, limit=limit)

    def send_signal(self, name: str, number: signal.Signals) -> None:
        """SIGSTOP and SIGCONT, for the most part: a process that is there and does not answer."""
        running = self.system.children[name].running
        assert running is not None
        running.send_signal(number)

    async def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Ends a process and waits until it is gone. It stays away until `restart`."""
        await self.system.children[name].kill(number)

    async def restart(self, name: str) -> None:
        """Starts a process, after stopping it where it runs, and waits until it is healthy."""
        child = self.system.children[name]
        await child.stop()
        await child.start()
        await child.wait_healthy()

    def log(self, name: str) -> str:
        return self.system.children[name].log_file.read_text()


def stack_in(folder: Path) -> Stack:
    """A stack of its own, on free ports."""
    home = open_home(folder)
    return Stack(home=home, secrets=keep_secrets(home), ports=choose_ports())


async def create_key(stack: Stack, account: str, *, mode: Mode = "test", limit: Limit | None = None) -> str:
    url = stack.databases["gateway"].application
    return (await keys.create_key(url, account=account, mode=mode, limit=limit)).secret
