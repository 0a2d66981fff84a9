"""The `skutrail` command: the local stack (`up`), the schema (`migrate`) and the operator's work on API keys (`keys`).

main.py      the commands and their help
local/       everything behind `skutrail up`
provision.py databases and roles
migrate.py   schema, streams, consumers
keys.py      API keys
"""
