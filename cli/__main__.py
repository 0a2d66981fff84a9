"""`python -m cli`: the same as `skutrail`, where that script is not on the path."""

from cli.main import app

app()
