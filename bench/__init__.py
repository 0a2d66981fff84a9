"""`make bench`: Skutrail beside pgbench and a hand-tuned monolith, in one run, every answer checked.

README.md says what is compared and why that is fair. Read in this order:

plan.py          what is run, how long
competitors.py   who competes: each is a way to load it and a ledger to check
rounds.py        the turns: load, settle, check, for everyone in every repetition
check.py         the ledger against what was accepted
shipments.py     from the request to the stock to the label; check_shipments.py checks that
bars.py          what was promised, and whether it holds
"""
