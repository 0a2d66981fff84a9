"""The stock of some SKUs, locked, and what is held of it for requests: decided in turn, written in one go."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from chassis.pipeline import Pipeline
from services.inventory import request_store, sourcing, store
from services.inventory.domain import Stock, StockKey
from services.inventory.requests import AllocationStatus, HoldChange, HoldFact, Policy, StockRequest
from services.inventory.sourcing import Plan, Site


@dataclass(frozen=True)
class Decision:
    """What a request gets now, and what it waits for."""

    status: AllocationStatus
    plan: Plan
    missing: Mapping[str, int]
    """Units per SKU; every SKU that was missing is named."""

    @property
    def takes_something(self) -> bool:
        return bool(self.plan.placements)

    @property
    def taken(self) -> dict[str, int]:
        taken: dict[str, int] = {}
        for placement in self.plan.placements:
            taken[placement.sku] = taken.get(placement.sku, 0) + placement.qty
        return taken


class Shelf:
    def __init__(
        self, stocks: Mapping[StockKey, Stock], sites: Mapping[str, Mapping[str, Site]], now: datetime
    ) -> None:
        """`sites`: what is known of warehouses, by tenant and code. `now`: read under the locks."""
        self.now = now
        self._stocks = dict(stocks)
        self._sites = sites
        self._by_sku: dict[tuple[str, str], list[StockKey]] = {}
        for key in stocks:
            self._by_sku.setdefault((key.tenant_id, key.sku), []).append(key)
        self._changes: list[HoldChange] = []
        self._expiries: dict[tuple[str, str], datetime] = {}

    def decide(
        self,
        request: StockRequest,
        missing: Mapping[str, int],
        *,
        left: Mapping[str, int] | None = None,
        kept: Mapping[str, int] | None = None,
    ) -> Decision:
        """`left`: at most so many units per SKU. `kept`: but for so many, which are for others."""
        available = self._available(request.tenant_id, missing)
        sites = self._sites.get(request.tenant_id, {})
        limits = sourcing.in_stock(available, sites)
        if left is not None:
            limits = {sku: min(units, left.get(sku, 0)) for sku, units in limits.items()}
        if kept is not None:
            limits = {sku: units - kept.get(sku, 0) for sku, units in limits.items()}
        aimed = _aim(request.policy, missing, limits)
        plan = sourcing.plan(aimed, available, sites, request.destination) if aimed else None
        if plan is None:
            nothing = sourcing.shortage(missing, available, sites, request.destination)
            return Decision(AllocationStatus.WAITING, nothing, dict(missing))
        rest = {sku: qty - aimed.get(sku, 0) for sku, qty in missing.items()}
        return Decision(AllocationStatus.WAITING if any(rest.values()) else AllocationStatus.HELD, plan, rest)

    def pass_over(
        self, request: StockRequest, status: AllocationStatus, rest: Mapping[str, int] | None = None
    ) -> Decision:
        """It gets nothing, whatever there is. `rest`: the units per SKU that it still wants; None stands for all."""
        wanted = request.wanted if rest is None else rest
        available = self._available(request.tenant_id, wanted)
        sites = self._sites.get(request.tenant_id, {})
        missing = dict(wanted) if status is AllocationStatus.WAITING else {}
        return Decision(status, sourcing.shortage(wanted, available, sites, request.destination), missing)

    def look_ups(self, tenant_id: str, skus: Collection[str]) -> int:
        """What a decision of so many SKUs costs: lines x warehouses."""
        return len(skus) * len({key.warehouse for sku in skus for key in self._by_sku.get((tenant_id, sku), ())})

    def hold(self, request: StockRequest, decision: Decision) -> None:
        for placement in decision.plan.placements:
            key = StockKey(request.tenant_id, placement.sku, placement.warehouse)
            stock = self._stocks[key]
            self._stocks[key] = stock._replace(held=stock.held + placement.qty)
            self._changes.append(HoldChange(key, request.id, HoldFact.HELD, placement.qty))
        if request.expires_at is not None:
            self._expiries[request.tenant_id, request.id] = request.expires_at

    def tell(self, pipeline: Pipeline) -> None:
        """Tells the pipeline what was held."""
        if self._changes:
            touched = sorted({change.key for change in self._changes})
            pipeline.tell(*store.saving_stocks([self._stocks[key] for key in touched]))
            pipeline.tell(*request_store.adding_holds(self._changes, self._expiries))
            pipeline.tell(*request_store.adding_facts(self._changes, self.now))
        self._changes = []

    def _available(self, tenant_id: str, skus: Mapping[str, int]) -> dict[str, dict[str, int]]:
        by_warehouse: dict[str, dict[str, int]] = {}
        for sku in skus:
            for key in self._by_sku.get((tenant_id, sku), ()):
                by_warehouse.setdefault(key.warehouse, {})[sku] = self._stocks[key].available
        return by_warehouse


def _aim(policy: Policy, missing: Mapping[str, int], limits: Mapping[str, int]) -> dict[str, int]:
    """The units to hold now: all or none, or of each SKU what there is."""
    if policy is Policy.PARTIAL:
        return {sku: min(qty, limits[sku]) for sku, qty in missing.items() if min(qty, limits.get(sku, 0)) > 0}
    fits = all(qty <= limits.get(sku, 0) for sku, qty in missing.items())
    return {sku: qty for sku, qty in missing.items() if qty > 0} if fits else {}
