"""What callers may send: one model per body and per query. The rules of their fields are in fields.py.

Shapes and rules only. What a request means, and whether stock or state allow it, is decided by the services.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from gateway.fields import (
    QTY_MAX,
    AddressLine,
    AllocationPolicy,
    ChainPlace,
    Code,
    Country,
    Deadline,
    Description,
    EventPatterns,
    Flag,
    IdempotencyKey,
    Instant,
    Latitude,
    Limit,
    Longitude,
    OrderId,
    OrderStatus,
    Postal,
    Priority,
    Reason,
    Reference,
    Secret,
    ShipmentStatus,
    SubscriptionStatus,
    Token,
    WebhookUrl,
)
from gateway.validation import Strict, Told

LINE_ITEMS_MAX = 100
MOVEMENTS_MAX = 1_000
BALANCE_MAX = 2**63 - 1  # what the ledger can count to
PAGE_DEFAULT = 20

_RECEIPTS_ADD: JsonDict = {"not": {"properties": {"reason": {"const": "receipt"}, "qty": {"maximum": 0}}}}


class Movement(Strict):
    """POST /v1/inventory/ledger."""

    model_config = ConfigDict(json_schema_extra=_RECEIPTS_ADD)

    sku: Code
    warehouse: Code
    # Declared before qty, whose sign it rules.
    reason: Reason
    qty: Annotated[int, Field(ge=-QTY_MAX, le=QTY_MAX), Told({"not": {"const": 0}})]
    reference: Reference | None = None
    # What must be right before it; else version_conflict.
    expected_balance: Annotated[int, Field(ge=0, le=BALANCE_MAX)] | None = None
    expected_seq: Annotated[int, Field(ge=0, le=BALANCE_MAX)] | None = None

    @field_validator("qty")
    @classmethod
    def _moves_something_the_right_way(cls, qty: int, known: ValidationInfo) -> int:
        if qty == 0:
            raise PydanticCustomError("out_of_range", "Must not be 0.")
        if qty < 0 and known.data.get("reason") == "receipt":
            raise PydanticCustomError("out_of_range", "Must be positive: a receipt adds stock.")
        return qty


class BatchLine(Movement):
    # Without one the line has no past: the key of the batch answers for it.
    idempotency_key: IdempotencyKey | None = None


class Batch(Strict):
    """POST /v1/inventory/ledger/batch."""

    # All or nothing, or each for itself: too much of a difference to be guessed.
    atomic: bool
    movements: Annotated[list[BatchLine], Field(min_length=1, max_length=MOVEMENTS_MAX)]


class Transfer(Strict):
    """POST /v1/inventory/transfers."""

    sku: Code
    from_warehouse: Code
    to_warehouse: Code
    qty: Annotated[int, Field(ge=1, le=QTY_MAX)]
    reference: Reference | None = None

    @field_validator("to_warehouse")
    @classmethod
    def _leads_elsewhere(cls, to_warehouse: str, known: ValidationInfo) -> str:
        if to_warehouse == known.data.get("from_warehouse"):
            raise PydanticCustomError("same_warehouse", "Must be another warehouse than from_warehouse.")
        return to_warehouse


class BalanceQuery(Strict):
    """GET /v1/inventory/balance."""

    sku: Code
    warehouse: Code
    as_of: Instant | None = None


class VerifyQuery(Strict):
    """GET /v1/inventory/verify."""

    sku: Code
    warehouse: Code
    after: ChainPlace | None = None


class PageQuery(Strict):
    """What every list takes; its other parameters are filters."""

    limit: Limit = PAGE_DEFAULT
    cursor: str | None = None


class LedgerQuery(PageQuery):
    """GET /v1/inventory/ledger."""

    sku: Code | None = None
    warehouse: Code | None = None
    reason: Reason | None = None
    reference: Reference | None = None
    # Exclusive bounds.
    created_after: Instant | None = None
    created_before: Instant | None = None


class LevelsQuery(PageQuery):
    """GET /v1/inventory/levels."""

    sku: Code | None = None
    warehouse: Code | None = None


class OrdersQuery(PageQuery):
    """GET /v1/orders."""

    status: OrderStatus | None = None


class Coordinates(Strict):
    latitude: Latitude
    longitude: Longitude


class Address(Strict):
    name: AddressLine
    line1: AddressLine
    line2: AddressLine | None = None
    city: AddressLine
    state: AddressLine | None = None
    postal: Postal
    country: Country
    coordinates: Coordinates | None = None


class LineItem(Strict):
    sku: Code
    qty: Annotated[int, Field(ge=1, le=QTY_MAX)]


class Shipment(Strict):
    """POST /v1/shipments."""

    order_id: OrderId
    ship_to: Address
    line_items: Annotated[list[LineItem], Field(min_length=1, max_length=LINE_ITEMS_MAX)]
    carrier_hint: Code | None = None
    allocation: AllocationPolicy = "all_or_none"
    priority: Priority = 0
    hold_expires_at: Deadline | None = None


class NewShipmentQuery(Strict):
    """POST /v1/shipments."""

    dry_run: Flag = False


class ShipmentsQuery(PageQuery):
    """GET /v1/shipments."""

    order_id: OrderId | None = None
    status: ShipmentStatus | None = None


class Nothing(Strict):
    """POST /v1/shipments/{id}/cancel and /dispatch: the path says it all."""


class LabelQuery(Strict):
    """GET /v1/shipments/{id}/label; `token` is that of a signed label_url."""

    format: Literal["pdf"] = "pdf"
    token: Token | None = None


class PostalAddress(Strict):
    line1: AddressLine
    line2: AddressLine | None = None
    city: AddressLine
    state: AddressLine | None = None
    postal: Postal
    country: Country


class Warehouse(Strict):
    """PUT /v1/warehouses/{code}: wholly anew, so that what is not sent is as if it had never been said."""

    name: AddressLine | None = None
    address: PostalAddress | None = None
    coordinates: Coordinates | None = None
    priority: Priority = 0
    active: bool = True


class WarehousePath(Strict):
    """/v1/warehouses/{code}."""

    code: Code


class Subscription(Strict):
    """POST /v1/webhooks/subscribe."""

    url: WebhookUrl
    events: EventPatterns
    secret: Secret | None = None
    description: Description | None = None


class SubscriptionChange(Strict):
    """PATCH /v1/webhooks/{id}: what is not sent stays as it is. A default stands for nothing: look at what was set."""

    url: WebhookUrl = ""
    events: EventPatterns = Field(default_factory=list)
    status: SubscriptionStatus = "active"
    # null takes it away.
    description: Description | None = None


class NoQuery(Strict):
    """What every other route takes in its query: nothing."""
