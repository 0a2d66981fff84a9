"""The built-in carrier: draws real labels, charges nothing, ships nothing, answers the same way every time.

Everything derives from the purchase: the same reference gives the same tracking number and the same bytes, in every
process. Two names of a recipient make it fail on purpose: SANDBOX_REJECT_ADDRESS and SANDBOX_5XX.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from datetime import timedelta
from hashlib import sha256

from services.shipments import labels
from services.shipments.carriers.port import CarrierFailure, CarrierRefused, CarrierUnavailable, Label, Purchase
from services.shipments.domain import Address

GROUND = "sandbox_ground"
EXPRESS = "sandbox_express"

_EXPRESS_WORDS = ("express", "next", "overnight", "air")
_REGISTER_MAX = 1_000


class SandboxCarrier:
    name = "sandbox"
    answers_within = timedelta(seconds=5)
    settles_after = timedelta(0)

    def __init__(self) -> None:
        # What was bought lately, so that find_by_reference can be asked. It is forgotten with the process, and may be:
        # buying again costs nothing here and gives the same label.
        self._bought: OrderedDict[str, Purchase] = OrderedDict()

    def choose_service(self, carrier_hint: str | None) -> str:
        hint = (carrier_hint or "").lower()
        return EXPRESS if any(word in hint for word in _EXPRESS_WORDS) else GROUND

    async def buy(self, purchase: Purchase) -> Label:
        if (fault := _fault_for(purchase.ship_to.name)) is not None:
            raise fault
        first = self._bought.setdefault(purchase.reference, purchase)
        if len(self._bought) > _REGISTER_MAX:
            self._bought.popitem(last=False)
        return await _label_for(first)

    async def find_by_reference(self, reference: str) -> Label | None:
        purchase = self._bought.get(reference)
        return await _label_for(purchase) if purchase is not None else None


def tracking_number(reference: str) -> str:
    """`SKT`, `T` for test, 16 digits and their Luhn digit: no carrier's sorter takes it for its own."""
    digits = f"{int.from_bytes(sha256(reference.encode()).digest()) % 10**16:016d}"
    return f"SKTT{digits}{luhn_digit(digits)}"


def luhn_digit(digits: str) -> str:
    """The check digit of ISO/IEC 7812-1 annex B: from the right, every other digit doubled, beginning with the last."""
    doubled = [sum(divmod(int(digit) * 2, 10)) for digit in digits[::-2]]
    plain = [int(digit) for digit in digits[-2::-2]]
    return str(-(sum(doubled) + sum(plain)) % 10)


def _fault_for(name: str) -> CarrierFailure | None:
    if name == "SANDBOX_REJECT_ADDRESS":
        return CarrierRefused("address_rejected", "The sandbox carrier does not deliver to this address.")
    if name == "SANDBOX_5XX":
        return CarrierUnavailable("The sandbox carrier cannot serve now.")
    return None


async def _label_for(purchase: Purchase) -> Label:
    number = tracking_number(purchase.reference)
    sheet = labels.Sheet(
        service=purchase.service.replace("_", " ").upper(),
        ship_from=purchase.ship_from,
        ship_to=_address_lines(purchase.ship_to),
        tracking_number=number,
        order_id=purchase.order_id,
        reference=purchase.reference,
    )
    # Drawing takes some milliseconds of pure computing: on the event loop it would hold up everybody else.
    content = await asyncio.to_thread(labels.draw, sheet)
    return Label(tracking_number=number, content=content, carrier=SandboxCarrier.name, service=purchase.service)


def _address_lines(address: Address) -> tuple[str, ...]:
    town = " ".join(part for part in (address.city, address.state, address.postal) if part)
    lines = (address.name, address.line1, address.line2, town, address.country)
    return tuple(line for line in lines if line)
