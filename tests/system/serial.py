"""Whether what many callers were told at once is what a ledger that serves one after the other would tell them. Pure.

The order of a chain is that of its entries' seqs. Every accepted movement must be what the model foretells at its place
in that order, and the order must not contradict time: what was answered before another began comes before it. What was
refused or read has no place of its own: one between its beginning and its end must explain it.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from tests.system.books import Entry, Place

ACCEPTED, REFUSED = 200, 409


class Answered(NamedTuple):
    """A movement under its key: when it was first sent, and when and what it was answered."""

    key: str
    sent: Mapping[str, Any]
    began: float
    ended: float
    status: int
    body: bytes

    @property
    def place(self) -> Place:
        return self.sent["sku"], self.sent["warehouse"]


class Read(NamedTuple):
    """A balance as it was told."""

    place: Place
    began: float
    ended: float
    balance: int


def foretell(balance: int, seq: int, sent: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
    """The status, and what the answer says of stock, with so much on hand after so many entries, and nothing held."""
    for name, actual in (("expected_balance", balance), ("expected_seq", seq)):
        if sent.get(name) not in (None, actual):
            return REFUSED, {"code": "version_conflict", "expected": sent[name], "actual": actual}
    change = -abs(sent["qty"]) if sent["reason"] == "pick" else sent["qty"]
    if change < 0 and -change > balance:
        return REFUSED, {"code": "insufficient_stock", "requested": -change, "available": balance}
    return ACCEPTED, {"qty": change, "balance": balance + change}


def faults_of_serial_order(
    answered: Iterable[Answered], reads: Iterable[Read], entries: Iterable[Entry]
) -> Iterator[str]:
    """`answered`: each key once. `entries`: all of the tenant, read when every movement had its answer."""
    chains: dict[Place, list[Entry]] = defaultdict(list)
    for entry in sorted(entries, key=lambda entry: entry.seq):
        chains[entry.place].append(entry)
    told: dict[Place, list[Answered]] = defaultdict(list)
    for one in answered:
        told[one.place].append(one)
    seen: dict[Place, list[Read]] = defaultdict(list)
    for read in reads:
        seen[read.place].append(read)
    for place in chains.keys() | told.keys() | seen.keys():
        yield from _faults_of_chain(told[place], seen[place], chains[place])


def _faults_of_chain(answered: Sequence[Answered], reads: Sequence[Read], chain: Sequence[Entry]) -> Iterator[str]:
    balances = [0, *(entry.balance for entry in chain)]
    seqs = {entry.id: seq for seq, entry in enumerate(chain, start=1)}
    accepted: dict[int, Answered] = {}
    for one in answered:
        if one.status == ACCEPTED:
            seq = seqs.get(json.loads(one.body)["id"])
            if seq is None:
                yield f"lost: {one}"
            elif seq in accepted:
                yield f"one entry for two keys: {accepted[seq]} and {one}"
            else:
                accepted[seq] = one
    yield from _faults_of_accepted(accepted, chain)
    instants = _Instants(accepted, len(chain))
    for one in answered:
        if one.status != ACCEPTED:
            seqs_then = instants.between(one.began, one.ended)
            if not any(_agrees(one, foretell(balances[seq], seq, one.sent)) for seq in seqs_then):
                yield f"refused, and no balance of its time explains it: {one}, {_around(balances, seqs_then)}"
    for read in reads:
        seqs_then = instants.between(read.began, read.ended)
        if not any(balances[seq] == read.balance for seq in seqs_then):
            yield f"read, and never so in its time: {read}, {_around(balances, seqs_then)}"


def _faults_of_accepted(accepted: Mapping[int, Answered], chain: Sequence[Entry]) -> Iterator[str]:
    balance, latest_began = 0, 0.0
    for seq, entry in enumerate(chain, start=1):
        one = accepted.get(seq)
        if one is None:
            yield f"recorded, though nobody was told: {entry}"
        else:
            expected = foretell(balance, seq - 1, one.sent)
            if entry.seq != seq or not _agrees(one, expected):
                yield f"as number {seq} of its chain foretold as {expected}: {one}"
            if one.ended < latest_began:
                yield f"answered before one began that stands before it: {one}"
            latest_began = max(latest_began, one.began)
            balance = expected[1].get("balance", balance)


def _agrees(one: Answered, expected: tuple[int, Mapping[str, Any]]) -> bool:
    status, facts = expected
    if one.status != status:
        return False
    told = json.loads(one.body)
    return all(told.get(name) == fact for name, fact in facts.items())


class _Instants:
    """How many entries of a chain there may have been at some instant, by what their callers knew."""

    def __init__(self, accepted: Mapping[int, Answered], length: int) -> None:
        ended = sorted((one.ended, seq) for seq, one in accepted.items())
        began = sorted(((one.began, seq) for seq, one in accepted.items()), reverse=True)
        self._ends = [end for end, _ in ended]
        self._least = [0, *accumulate((seq for _, seq in ended), max)]
        self._begins = [-begin for begin, _ in began]
        self._most = [length, *accumulate((seq - 1 for _, seq in began), min)]

    def between(self, began: float, ended: float) -> range:
        """At least what was answered before the beginning, and nothing that began after the end."""
        least = self._least[bisect_left(self._ends, began)]
        most = self._most[bisect_left(self._begins, -ended)]
        return range(least, most + 1)


def _around(balances: Sequence[int], seqs: range) -> str:
    return f"which had {balances[seqs.start : seqs.stop][:50]} behind seq {seqs.start}"
