"""The `skutrail` command: the local stack (`up`), the schema (`migrate`) and the operator's work
on API keys (`keys`), parked events (`parked`) and the trail (`verify`, `export`, `import`).

main.py      the commands and their help
local/       everything behind `skutrail up`
provision.py databases and roles
migrate.py   schema, streams, consumers
keys.py      API keys
parked.py    events that no handler could take
verify.py    whether the trail is as it was recorded
export.py    the trail as a file, and back
command.py   what they share: which database, which NATS, how to fail
"""
