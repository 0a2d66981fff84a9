"""The whole of Skutrail on one machine, as plain processes.

PostgreSQL, nats-server, the four services, the gateway and, in the place of a real carrier, the sandbox.

Read `processes.py` first (what runs), then `supervisor.py` (how it is kept running). Production shares nothing of this
folder but the commands it starts.
"""
