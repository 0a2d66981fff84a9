"""Log lines of a process of its own: JSON, one line each, and never a secret on them."""

import json
import subprocess
import sys
from typing import Any

import pytest

KEY = "sk_live_0123456789abcdef"
WEBHOOK_SECRET = "whsec_c2tldGNoZWQ+/="
PASSWORD = "hunter2-%2F@7"
SECRETS = (KEY, WEBHOOK_SECRET, PASSWORD)

SPEAK = f"""
import logging
from chassis import logs
from chassis.logs import log

logs.configure("probe", "info")
KEY, WHSEC, URL = {KEY!r}, {WEBHOOK_SECRET!r}, "postgresql://role:{PASSWORD}@10.0.0.7:5432/db"

class Thing:
    def __repr__(self):
        return f"Thing({{URL}})"

log.debug("left out")
log.info("plain", count=64, ratio=0.5, nothing=None, yes=True)
log.info("in a field", authorization=f"Bearer {{KEY}}", secret=WHSEC, url=URL, nameless=URL.replace("role", ""))
log.info("deep", headers={{"authorization": [f"Bearer {{KEY}}", (WHSEC,)]}}, body=WHSEC.encode())
log.info("an object", thing=Thing(), error=ValueError(URL), dsn="host=db password={PASSWORD} user=x")
log.info(f"in the name of the event {{KEY}}")
log.info("two\\nlines", text="two\\nlines")
with logs.bound(request_id="req_1", tenant_id=""):
    log.info("bound")
try:
    raise ValueError(f"cannot reach {{URL}} with {{KEY}}")
except ValueError:
    log.exception("failed")
logging.getLogger("asyncio").error("from the library %s", URL)
try:
    raise ValueError(URL)
except ValueError:
    logging.getLogger("asyncio").exception("the library failed")
logging.getLogger("chatty").info("left out too")
"""


@pytest.fixture(scope="module")
def spoken() -> str:
    ended = subprocess.run([sys.executable, "-c", SPEAK], capture_output=True, text=True, check=True)
    assert ended.stdout == ""
    return ended.stderr


@pytest.fixture(scope="module")
def lines(spoken: str) -> dict[str, dict[str, Any]]:
    return {line["event"]: line for line in map(json.loads, spoken.splitlines())}


@pytest.mark.parametrize("secret", SECRETS)
def test_no_secret_reaches_a_log_whoever_hands_it_over(spoken: str, secret: str) -> None:
    assert secret not in spoken
    assert secret[6:16] not in spoken


def test_every_line_is_one_json_object_with_its_time_level_and_process(lines: dict[str, dict[str, Any]]) -> None:
    assert len(lines) == 10
    for line in lines.values():
        assert line["process"] == "probe"
        assert line["level"] in ("info", "error")
        assert line["at"].endswith("Z")


def test_facts_keep_their_types(lines: dict[str, dict[str, Any]]) -> None:
    facts = lines["plain"]

    assert (facts["count"], facts["ratio"], facts["nothing"], facts["yes"]) == (64, 0.5, None, True)


def test_what_is_not_secret_stays_readable(lines: dict[str, dict[str, Any]]) -> None:
    assert lines["in a field"]["url"] == "postgresql://[redacted]@10.0.0.7:5432/db"
    assert lines["deep"]["headers"] == {"authorization": ["Bearer [redacted]", ["[redacted]"]]}
    assert lines["an object"]["thing"] == "Thing(postgresql://[redacted]@10.0.0.7:5432/db)"
    assert lines["an object"]["dsn"] == "host=db password=[redacted] user=x"


def test_bound_ids_stand_on_the_lines_of_their_unit_of_work(lines: dict[str, dict[str, Any]]) -> None:
    assert lines["bound"]["request_id"] == "req_1"
    assert "tenant_id" not in lines["bound"]
    assert "request_id" not in lines["failed"]


def test_an_exception_stands_on_its_line_and_libraries_speak_the_same_way(lines: dict[str, dict[str, Any]]) -> None:
    assert "ValueError: cannot reach postgresql://[redacted]@" in lines["failed"]["exception"]
    assert lines["from the library postgresql://[redacted]@10.0.0.7:5432/db"]["level"] == "error"
    assert "ValueError: postgresql://[redacted]@" in lines["the library failed"]["exception"]
