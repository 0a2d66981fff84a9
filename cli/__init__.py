"""The `skutrail` command: the local stack (`up`), the schema (`migrate`) and the operator's work
on API keys (`keys`) and parked events (`parked`).

main.py      the commands and their help
local/       everything behind `skutrail up`
provision.py databases and roles
migrate.py   schema, streams, consumers
keys.py      API keys
parked.py    events that no handler could take
command.py   what keys and parked share: which database, which NATS, how to fail
"""
