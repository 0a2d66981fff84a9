"""The rules of the house that a machine can check: imports point one way, generated code is fresh, nothing stray."""

import ast
import gc
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SERVICES = ("inventory", "shipments", "orders", "webhooks")
PACKAGES = ("chassis", "services", "gateway", "cli", "sandbox")
SAME_IN_EVERY_SERVICE = ("__init__", "__main__", "server", "operations", "domain", "store", "events", "topology")
LINES_MAX, FUNCTION_LINES_MAX = 450, 60

# Doors call operations, operations call store and events, and all may read the domain. Nothing looks back up.
LAYERS = {"server": 4, "listener": 4, "operations": 3, "store": 2, "events": 2, "domain": 1}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def parsed(path: Path) -> ast.Module:
    """Without the collector: what it ends meanwhile makes the parser of Python 3.11 stumble (python/cpython#106905)."""
    gc.disable()
    try:
        return ast.parse(path.read_text())
    finally:
        gc.enable()


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files_of_the_house() -> list[Path]:
    """Every file but what .gitignore names: asked of the tree, because a checkout need not have git."""
    lines = (ROOT / ".gitignore").read_text().splitlines()
    ignored = [".git", *(line.strip().rstrip("/") for line in lines if line.strip())]
    found: list[Path] = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if not _is_named(name, ignored)]
        found += [Path(folder, name) for name in names if not _is_named(name, ignored)]
    return found


def _is_named(name: str, patterns: list[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def test_the_chassis_knows_nothing_of_the_product() -> None:
    for path in sources("chassis"):
        outside = [name for name in imports(path) if name.split(".")[0] in ("services", "gateway", "cli", "sandbox")]
        assert not outside, path


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_imports_no_other_service_and_no_door(service: str) -> None:
    for path in sources(f"services/{service}"):
        for name in imports(path):
            package = name.split(".")
            assert package[0] not in ("gateway", "cli"), path
            assert package[0] != "services" or package[1] == service, (path, name)


def test_the_gateway_imports_no_service() -> None:
    for path in sources("gateway"):
        assert not [name for name in imports(path) if name.split(".")[0] in ("services", "cli")], path


def test_the_sandbox_is_an_outsider() -> None:
    product = {"services", "gateway", "cli", "skutrail"}
    for path in sources("sandbox"):
        assert not [name for name in imports(path) if name.split(".")[0] in product], path
    for path in sources("services", "gateway", "cli"):
        assert not [name for name in imports(path) if name.split(".")[0] == "sandbox"], path


@pytest.mark.parametrize("service", SERVICES)
def test_layers_of_a_service_are_imported_one_way(service: str) -> None:
    for layer, rank in LAYERS.items():
        path = ROOT / "services" / service / f"{layer}.py"
        if not path.exists():
            continue
        for name in imports(path):
            package = name.split(".")
            if package[:2] == ["services", service] and len(package) > 2 and package[2] in LAYERS:
                above = LAYERS[package[2]] > rank or (LAYERS[package[2]] == rank and package[2] != layer)
                assert not above, (path, name)


@pytest.mark.parametrize("service", SERVICES)
def test_the_domain_is_pure(service: str) -> None:
    allowed = {
        "chassis.errors",
        "collections",
        "dataclasses",
        "datetime",
        "email",
        "enum",
        "functools",
        "hashlib",
        "math",
        "typing",
    }
    for name in imports(ROOT / "services" / service / "domain.py"):
        package = name.split(".")
        own = package[:2] == ["services", service]
        assert (
            own
            or package[0] in {*allowed, "__future__", "re", "types", "itertools", "abc"}
            or name.startswith("chassis.errors")
        ), name


@pytest.mark.parametrize("service", SERVICES)
def test_who_knows_one_service_knows_all(service: str) -> None:
    files = {path.stem for path in (ROOT / "services" / service).glob("*.py")}
    assert files >= set(SAME_IN_EVERY_SERVICE)
    docstring = ast.get_docstring(parsed(ROOT / "services" / service / "__init__.py")) or ""
    for word in ("Owns", "Answers", "Publishes", "Listens", "Must always hold"):
        assert word in docstring, (service, word)


def test_generated_code_is_fresh_and_alone(tmp_path: Path) -> None:
    contracts = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "proto").rglob("*.proto"))
    outputs = [f"--{kind}={tmp_path}" for kind in ("python_out", "pyi_out", "grpc_python_out", "mypy_grpc_out")]
    plugin = f"--plugin=protoc-gen-mypy_grpc={Path(sys.executable).parent / 'protoc-gen-mypy_grpc'}"
    command = [sys.executable, "-m", "grpc_tools.protoc", plugin, "-I", "proto", *outputs, *contracts]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)

    def tree(folder: Path) -> dict[str, bytes]:
        files = (path for path in folder.rglob("*") if path.is_file() and path.suffix in (".py", ".pyi"))
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    assert tree(ROOT / "gen") == tree(tmp_path)


def test_every_module_says_what_belongs_in_it() -> None:
    for path in sources(*PACKAGES):
        assert ast.get_docstring(parsed(path)), path


def test_files_and_functions_hold_one_thought() -> None:
    for path in sources(*PACKAGES, "tests"):
        assert path.read_text().count("\n") <= LINES_MAX, path
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert (node.end_lineno or 0) - node.lineno < FUNCTION_LINES_MAX, (path, node.name)


def test_nothing_of_a_machine_or_a_secret_is_in_the_tree() -> None:
    strays = re.compile(
        r"(?<![\w.])/(?:work|root|home/\w+)/\w"  # a path of one machine
        r"|--(?:extra-)?index-url|files\.pythonhosted"  # where packages come from
        r"|sk_(?:live|test)_[0-9A-Za-z]{38}"  # a key that could be real
    )
    unfinished = re.compile(r"\b(?:TODO|FIXME|XXX)\b|NotImplementedError")
    this = Path(__file__)
    for path in files_of_the_house():
        if path == this or ROOT / "gen" in path.parents:
            continue
        text = path.read_text()
        assert not strays.search(text), (path, strays.search(text))
        assert not unfinished.search(text), path


def test_every_decision_is_told_the_same_way() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        text = page.read_text()
        for heading in ("## Context", "## Decision", "## Consequences"):
            assert heading in text, page
