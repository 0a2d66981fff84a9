"""What an operator sets for the gateway is checked at its start, and no password is told."""

from __future__ import annotations

import base64

import pytest
from pydantic import ValidationError

from gateway.__main__ import GatewaySettings

NEEDED = {
    "SKUTRAIL_DATABASE_URL": "postgresql://gateway:unsaid@db:5432/skutrail_gateway",
    "SKUTRAIL_CURSOR_KEY": base64.b64encode(bytes(32)).decode(),
    **{f"SKUTRAIL_{name}_ADDR": "127.0.0.1:1" for name in ("INVENTORY", "SHIPMENTS", "ORDERS", "WEBHOOKS")},
}


@pytest.fixture(autouse=True)
def needed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)


def test_without_more_each_gateway_counts_for_itself_and_believes_no_proxy() -> None:
    settings = GatewaySettings()

    assert (settings.rate_limit, settings.rate_limit_url, settings.trusted_proxies) == ("on", "", "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rate_limit_url", "redis://:unsaid@cache:6379/0"),
        ("rate_limit_url", "host=db password=unsaid"),
        ("trusted_proxies", "10.0.0.1/8"),
        ("trusted_proxies", "nowhere"),
    ],
)
def test_what_cannot_be_meant_ends_the_start_and_names_the_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"SKUTRAIL_{name.upper()}", value)

    with pytest.raises(ValidationError, match=name) as told:
        GatewaySettings()

    assert "unsaid" not in str(told.value)
