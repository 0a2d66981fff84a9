"""The home folder of a local stack: what lies where in it, its secrets, and the lock that makes it one stack's alone.

Everything the stack writes lies below this folder, and nothing outside of it is ever changed.
"""

import base64
import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from cli.provision import ROLES


class HomeInUse(Exception):
    """Another stack runs in this home. The text names its pid and its URL."""


LAST_CHILD_WITHIN_S = 30.0


@dataclass(frozen=True)
class Home:
    root: Path

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def stack_file(self) -> Path:
        """Where the running stack is described for `skutrail keys` and the like; there only while it runs."""
        return self.root / "stack.json"

    @property
    def key_id_file(self) -> Path:
        """Which API key the last start made: its id, not the key."""
        return self.root / "key_id"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"


def open_home(root: Path) -> Home:
    """Makes the folder where it is missing.

    Others may pass through it, not look into it: under root, PostgreSQL runs as `nobody`.
    """
    root = root.absolute()
    root.mkdir(mode=0o711, parents=True, exist_ok=True)
    home = Home(root)
    home.logs.mkdir(mode=0o700, exist_ok=True)
    return home


@contextmanager
def locked(home: Home, url: str) -> Iterator[int]:
    """Holds the home, or raises HomeInUse.

    Yields the lock's descriptor, to be handed to every child: the home is free only when the last of them has ended.
    """
    descriptor = os.open(home.root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "url": url}).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    deadline = time.monotonic() + LAST_CHILD_WITHIN_S
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = json.loads(os.pread(descriptor, 4096, 0) or b"{}")
        # A supervisor that was killed leaves the lock to its children, which are about to end.
        if _is_alive(holder.get("pid")) or time.monotonic() > deadline:
            raise HomeInUse(f"already running here: pid {holder.get('pid')}, {holder.get('url')}")
        time.sleep(0.1)


def _is_alive(pid: int | None) -> bool:
    return pid is not None and Path(f"/proc/{pid}").exists()


@dataclass(frozen=True)
class Secrets:
    """Made once per home. Keys are base64 of 32 bytes, as the services' settings want them."""

    postgres_password: str
    nats_password: str
    link_key: str
    secrets_key: str
    cursor_key: str
    role_passwords: Mapping[str, str]


def keep_secrets(home: Home) -> Secrets:
    """Reads the home's secrets, making those that are missing first."""
    file = home.root / "secrets.json"
    kept = json.loads(file.read_text()) if file.exists() else {}
    fresh = asdict(make_secrets())
    merged = {**fresh, **kept, "role_passwords": {**fresh["role_passwords"], **kept.get("role_passwords", {})}}
    if merged != kept:
        write_private(file, json.dumps(merged, indent=2))
    return Secrets(**merged)


def make_secrets() -> Secrets:
    return Secrets(
        postgres_password=secrets.token_urlsafe(24),
        nats_password=secrets.token_urlsafe(24),
        link_key=base64.b64encode(secrets.token_bytes(32)).decode(),
        secrets_key=base64.b64encode(secrets.token_bytes(32)).decode(),
        cursor_key=base64.b64encode(secrets.token_bytes(32)).decode(),
        role_passwords={role: secrets.token_urlsafe(24) for role in ROLES},
    )


def write_private(file: Path, text: str) -> None:
    """Writes a file that only its owner may read, whole or not at all."""
    draft = file.with_name(f".{file.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)
