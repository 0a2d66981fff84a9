"""The ledger and its holds as a few lines of plain Python: what every reply of the running system must be. Pure."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

Place = tuple[str, str]
"""SKU and warehouse."""


@dataclass
class Request:
    """A shipment of one line: `open` units are still held for it, `picked` were taken out, by warehouse."""

    id: str
    sku: str
    missing: int
    open: dict[str, int] = field(default_factory=dict)
    picked: dict[str, int] = field(default_factory=dict)

    @property
    def waits(self) -> bool:
        return self.missing > 0 and not self.open

    def allocations(self) -> dict[str, int]:
        """What its readers see of it, by warehouse."""
        if self.waits:
            return {}
        return {w: self.open.get(w, 0) + self.picked.get(w, 0) for w in sorted({*self.open, *self.picked})}


@dataclass
class Model:
    warehouses: tuple[str, str]
    """Both serve every request; in the order of their names."""
    on_hand: dict[Place, int] = field(default_factory=lambda: defaultdict(int))
    requests: list[Request] = field(default_factory=list)
    """Oldest first."""

    def available(self, place: Place) -> int:
        sku, warehouse = place
        return self.on_hand[place] - sum(r.open.get(warehouse, 0) for r in self.requests if r.sku == sku)

    def record(self, movement: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The status, and what the answer says of stock."""
        sku, warehouse, qty, reason = (movement[name] for name in ("sku", "warehouse", "qty", "reason"))
        place = (sku, warehouse)
        change = -abs(qty) if reason == "pick" else qty
        owner = next((r for r in self.requests if reason == "pick" and r.id == movement.get("reference")), None)
        own = owner.open.get(warehouse, 0) if owner and owner.sku == sku else 0
        limit = self.on_hand[place] if reason == "adjustment" else self.available(place) + own
        if change < 0 and -change > limit:
            return 409, {"requested": -change, "available": limit}
        self.on_hand[place] += change
        if owner and own:
            self._pick(owner, warehouse, min(own, -change))
        self._send_back(place)
        self._serve()
        return 200, {"qty": change, "balance": self.on_hand[place]}

    def ship(self, shipment_id: str, sku: str, qty: int) -> Request:
        request = Request(shipment_id, sku, qty)
        self.requests.append(request)
        self._serve()
        return request

    def _pick(self, owner: Request, warehouse: str, qty: int) -> None:
        owner.missing -= qty
        owner.picked[warehouse] = owner.picked.get(warehouse, 0) + qty
        owner.open[warehouse] -= qty
        if owner.open[warehouse] == 0:
            del owner.open[warehouse]

    def _send_back(self, place: Place) -> None:
        """An adjustment states a fact: the youngest holds that no longer fit wait again, whole."""
        for request in reversed(self.requests):
            if self.available(place) < 0 and request.sku == place[0] and place[1] in request.open:
                request.open.clear()

    def _serve(self) -> None:
        """The oldest first, each whole or not at all; from one warehouse where one has enough, and first from the one
        that has most, of equals by name."""
        for request in self.requests:
            free = {w: max(self.available((request.sku, w)), 0) for w in self.warehouses}
            if request.waits and sum(free.values()) >= request.missing:
                missing = request.missing
                by_stock = sorted(self.warehouses, key=lambda w: (-free[w], w))
                alone = [w for w in by_stock if free[w] >= missing]
                for warehouse in alone[:1] or by_stock:
                    taken = min(missing, free[warehouse])
                    request.open |= {warehouse: taken} if taken else {}
                    missing -= taken
