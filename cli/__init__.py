"""The `skutrail` command: the local stack (`up`), the schema (`migrate`) and the operator's work
on API keys (`keys`), events (`parked`, `republish`), the trail (`verify`, `export`, `import`) and the whole (`doctor`).

main.py      the commands and their help
local/       everything behind `skutrail up`
provision.py databases and roles
migrate.py   schema, streams, consumers
keys.py      API keys
doctor.py    what is stuck, parked or inconsistent; diagnosis/ has a module for each subject
parked.py    events that no handler could take
republish.py events that are told again
verify.py    whether the trail is as it was recorded
export.py    the trail as a file, and back
command.py   what they share: which database, which NATS, how to fail
"""
