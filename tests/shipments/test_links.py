"""A link opens one label, for a while, and cannot be made without the key."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from chassis.errors import Fault
from services.shipments.links import LIFETIME, LabelLinks

NOW = datetime(2026, 4, 22, 17, 4, 11, tzinfo=UTC)
LINKS = LabelLinks("https://api.example.com/", key=bytes(range(32)))


def token_for(shipment_id: str = "shp_1", links: LabelLinks = LINKS, tenant_id: str = "acc_1:test") -> str:
    url = links.sign(tenant_id=tenant_id, shipment_id=shipment_id, now=NOW)
    return parse_qs(urlsplit(url).query)["token"][0]


def test_a_link_stands_on_the_public_host_and_names_its_tenant_when_it_comes_back() -> None:
    url = LINKS.sign(tenant_id="acc_1:test", shipment_id="shp_1", now=NOW)

    assert url.startswith("https://api.example.com/v1/shipments/shp_1/label?token=")
    assert LINKS.verify(token_for(), shipment_id="shp_1", now=NOW + LIFETIME - timedelta(seconds=1)) == "acc_1:test"


def test_a_link_is_dead_when_its_time_is_over() -> None:
    with pytest.raises(Fault, match="not_found"):
        LINKS.verify(token_for(), shipment_id="shp_1", now=NOW + LIFETIME)


def test_a_link_opens_no_other_shipment() -> None:
    with pytest.raises(Fault, match="not_found"):
        LINKS.verify(token_for("shp_1"), shipment_id="shp_2", now=NOW)


def test_a_link_of_another_key_does_not_open() -> None:
    stranger = LabelLinks("https://api.example.com", key=bytes(32))

    with pytest.raises(Fault, match="not_found"):
        LINKS.verify(token_for(links=stranger), shipment_id="shp_1", now=NOW)


def test_no_byte_of_a_link_can_be_changed() -> None:
    token = token_for()

    for position, char in enumerate(token[:-1]):  # the last one holds bits that base64 ignores
        forged = token[:position] + ("A" if char != "A" else "B") + token[position + 1 :]
        with pytest.raises(Fault, match="not_found"):
            LINKS.verify(forged, shipment_id="shp_1", now=NOW)


@pytest.mark.parametrize("token", ["", ".", "a.b.c", "no-dot", "é.ü", "!!.!!", "A" * 5_000, "W10.", ".W10"])
def test_what_is_no_token_is_refused_like_a_forged_one(token: str) -> None:
    with pytest.raises(Fault, match="not_found"):
        LINKS.verify(token, shipment_id="shp_1", now=NOW)


def test_the_key_is_not_printed() -> None:
    assert "key" not in repr(LINKS)
