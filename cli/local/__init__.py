"""The whole of Skutrail on one machine: PostgreSQL, nats-server, the four services and the gateway as plain processes.

Read `processes.py` first (what runs), then `supervisor.py` (how it is kept running). Production shares nothing of this
folder but the commands it starts.
"""
