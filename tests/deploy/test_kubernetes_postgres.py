"""PostgreSQL has a place for every connection, and what we use of CloudNativePG is as we mean it.

The schemas of its resources are not at hand here: these assertions stand in for them, field by field.
"""

from typing import Any

import pytest

from chassis.database import POOL_SIZE
from cli.provision import NAMES, ROLES
from gateway.shared_buckets import CONNECTIONS
from tests.deploy.kubectl import ROOT
from tests.deploy.manifests import PROCESSES, Manifests, manifests, secrets

SURGE = 1  # pods of a rolling update beyond the replicas
SUPERUSER_RESERVED = 3
OF_THE_OPERATOR = 10  # CloudNativePG's own sessions, a dump, somebody at a prompt


@pytest.fixture
def cluster(production: Manifests) -> dict[str, Any]:
    spec: dict[str, Any] = production.one("Cluster", "postgres")["spec"]
    return spec


def test_no_role_runs_out_of_connections_during_a_rolling_update(
    production: Manifests, cluster: dict[str, Any]
) -> None:
    limits = _limits(cluster)

    for name in PROCESSES:
        assert (production.pod(name).replicas + SURGE) * _pool(name) <= limits[f"skutrail_{name}"]


def test_all_roles_at_their_limits_leave_room_for_the_operator(cluster: dict[str, Any]) -> None:
    most = sum(_limits(cluster).values()) + SUPERUSER_RESERVED + OF_THE_OPERATOR

    assert most <= int(cluster["postgresql"]["parameters"]["max_connections"])


def test_the_local_server_has_room_for_every_pool_too() -> None:
    local = manifests("local")
    args = local.pod("postgres").main["args"]
    (given,) = [int(arg.partition("=")[2]) for arg in args if arg.startswith("max_connections=")]

    pools = sum((local.pod(name).replicas + SURGE) * _pool(name) for name in PROCESSES)
    assert pools + len(NAMES) + SUPERUSER_RESERVED + OF_THE_OPERATOR <= given


def test_a_commit_is_answered_when_a_second_machine_has_it(cluster: dict[str, Any]) -> None:
    assert cluster["instances"] == 3
    assert cluster["postgresql"]["synchronous"] == {
        "method": "any",
        "number": 1,
        "dataDurability": "required",
        "failoverQuorum": True,
    }
    assert cluster["affinity"] == {"podAntiAffinityType": "required", "topologyKey": "kubernetes.io/hostname"}


def test_the_roles_are_those_which_the_local_stack_makes(cluster: dict[str, Any]) -> None:
    roles = {role["name"]: role for role in cluster["managed"]["roles"]}

    assert roles.keys() == set(ROLES)
    for name, role in roles.items():
        assert (role["ensure"], role["login"]) == ("present", True)
        assert not {"superuser", "createdb", "createrole", "bypassrls", "replication"} & role.keys()
        made = secrets()[role["passwordSecret"]["name"]]
        assert made["username"] == name


def test_every_database_belongs_to_its_owner(production: Manifests) -> None:
    databases = {database["spec"]["name"]: database["spec"] for database in production.of("Database")}

    assert databases.keys() == {f"skutrail_{name}" for name in NAMES}
    for name, spec in databases.items():
        assert spec["owner"] == f"{name}_owner"
        assert spec["cluster"] == {"name": "postgres"}
        assert spec["databaseReclaimPolicy"] == "retain"


def test_a_role_reaches_its_own_database_alone_and_encrypted(cluster: dict[str, Any]) -> None:
    own = [f"hostssl skutrail_{n} skutrail_{n}_owner,skutrail_{n} all scram-sha-256" for n in NAMES]

    assert cluster["postgresql"]["pg_hba"] == [*own, "host all all all reject"]


def test_strings_compare_as_in_the_local_stack(cluster: dict[str, Any]) -> None:
    initdb = cluster["bootstrap"]["initdb"]
    local = (ROOT / "cli/provision.py").read_text()

    assert (initdb["encoding"], initdb["localeProvider"]) == ("UTF8", "builtin")
    assert f"BUILTIN_LOCALE '{initdb['builtinLocale']}'" in local
    assert f"LOCALE '{initdb['locale']}'" in local


def test_every_process_of_production_verifies_the_server(production: Manifests) -> None:
    for name in (*PROCESSES, "migrate"):
        pod = production.pod(name)
        environment = production.environment(pod.main)
        (mount,) = [mount for mount in pod.main["volumeMounts"] if mount["name"] == "postgres-ca"]
        (volume,) = [volume for volume in pod.spec["volumes"] if volume["name"] == "postgres-ca"]
        assert environment["PGSSLMODE"] == "verify-full"
        assert environment["PGSSLROOTCERT"] == f"{mount['mountPath']}/ca.crt"
        # The Secret holds the CA's private key too: only the certificate may enter a pod.
        assert volume["secret"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]


def _pool(name: str) -> int:
    """The connections of one pod; a gateway's for the shared rate limits too."""
    return POOL_SIZE + (CONNECTIONS if name == "gateway" else 0)


def _limits(cluster: dict[str, Any]) -> dict[str, int]:
    return {role["name"]: role["connectionLimit"] for role in cluster["managed"]["roles"]}
