"""The home folder: its secrets, and the lock that makes it one stack's alone."""

import os
import signal
from pathlib import Path

import pytest

from cli.local.children import spawn
from cli.local.home import HomeInUse, keep_secrets, locked, open_home
from cli.provision import ROLES

SLEEP = ("/bin/sleep", "60")


def test_secrets_are_made_once_and_readable_by_their_owner_alone(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")

    first = keep_secrets(home)

    assert keep_secrets(home) == first
    assert set(first.role_passwords) == set(ROLES)
    assert (home.root / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_a_held_home_is_refused_and_its_holder_named(tmp_path: Path) -> None:
    home = open_home(tmp_path)

    with (
        locked(home, "http://127.0.0.1:8080"),
        pytest.raises(HomeInUse, match=rf"pid {os.getpid()}, http://127\.0\.0\.1:8080"),
        locked(home, "http://127.0.0.1:9090"),
    ):
        pass


async def test_a_home_is_free_only_when_its_last_child_has_ended(tmp_path: Path) -> None:
    home = open_home(tmp_path)
    with locked(home, "http://127.0.0.1:8080") as lock:
        child = await spawn(
            SLEEP,
            log=home.log("sleep"),
            folder=tmp_path,
            environment={},
            death_signal=signal.SIGTERM,
            lock=lock,
        )

    with pytest.raises(HomeInUse), locked(home, "http://127.0.0.1:8080"):
        pass

    child.kill()
    await child.wait()
    with locked(home, "http://127.0.0.1:8080"):
        pass
