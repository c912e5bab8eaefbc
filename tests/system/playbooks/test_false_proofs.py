# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run proves: two servers that share an alias and have localhost among their names, and what was left out."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.plugins.connection import local
from ansible_collections.pgops.tls.tests import tables
from ansible_collections.pgops.tls.tests.relays import Relay

ALIAS = "127.0.0.3"
HOSTS_FILE = f"127.0.0.1 db1.test\n127.0.0.2 db2.test\n{ALIAS} db.test\n"


@pytest.fixture(scope="module")
def relay(shared_cluster: Any, shared_second_cluster: Any) -> Iterator[Relay]:
    """Let db.test lead to the first server, and both servers and the alias have names."""
    if not Path("/run/.containerenv").exists():
        pytest.skip("names of this machine are its own")
    hosts = Path("/etc/hosts")
    before = hosts.read_text()
    targets = [("127.0.0.1", shared_cluster.port), ("127.0.0.2", shared_second_cluster.port)]
    hosts.write_text(before + HOSTS_FILE)
    try:
        with Relay(targets, (ALIAS, shared_cluster.port)).leading() as leading:
            yield leading
    finally:
        hosts.write_text(before)


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], shared_cluster: Any, shared_second_cluster: Any, relay: Relay) -> Any:
    """Make a fleet of two servers, of which the first is a client host, too, and another client host.

    Each counts as a machine of its own: its connection is a local one under another name.
    """
    assert relay.led_to == []
    for cluster in (shared_cluster, shared_second_cluster):
        cluster.psql("CREATE ROLE app LOGIN; CREATE ROLE other LOGIN")
    made = site_on(shared_cluster)
    plugins = made.directory / "plugins"
    plugins.mkdir()
    text = Path(local.__file__).read_text().replace("name: local", "name: machine", 1)
    (plugins / "machine.py").write_text(re.sub(r"transport = 'local'", "transport = 'machine'", text))
    return made


def fleet(site: Any, second: Any) -> dict[str, Any]:
    """Return the inventory."""
    found = site.inventory()
    found["all"]["vars"]["ansible_connection"] = "machine"
    servers = {
        name: {
            **site.server_on(cluster, f"{name}.test", "localhost"),
            "postgres_server_extra_names": [{"name": "db.test", "shared": True}],
        }
        for name, cluster in (("db1", site.cluster), ("db2", second))
    }
    own, other = ([{"role": role, "os_user": user}] for role, user in zip(("app", "other"), site.os_users))
    found["postgres_servers"]["hosts"] = servers
    found["postgres_clients"]["hosts"] = {
        "db1": {"postgres_client_identities": own},
        "app1": {"postgres_client_identities": other},
    }
    return found


def run(site: Any, *options: str, **given: Any) -> subprocess.CompletedProcess[str]:
    environment = {"ANSIBLE_CONNECTION_PLUGINS": str(site.directory / "plugins")}
    done: subprocess.CompletedProcess[str] = site.run(*options, environment=environment, **given)
    return done


def test_no_row_proves_what_was_not_reached(site: Any, shared_second_cluster: Any, relay: Relay) -> None:
    relay.moves_after = 1
    done = run(site, inventory=fleet(site, shared_second_cluster))
    assert done.returncode == 0, done.stdout + done.stderr
    found = tables.rows(done.stdout)
    aliases = [one for one in found if one.host == "db.test"]
    assert relay.led_to == [0, 1]
    assert sorted(one.server for one in aliases) == ["db1", "db2"], aliases
    assert all(one.reason.endswith("this name is shared by db1, db2") for one in aliases)
    loopback = [one for one in found if one.host == "localhost"]
    assert [(one.client, one.server, one.result) for one in loopback] == [
        ("db1", "db1", "ok"),
        ("db1", "db2", "skipped"),
    ]
    others = {(one.client, one.server, one.host) for one in found if one not in [*aliases, *loopback]}
    assert others == {(client, server, f"{server}.test") for client in ("db1", "app1") for server in ("db1", "db2")}


def test_a_limit_is_kept_on_both_ends_of_a_connection_and_the_table_says_what_is_left_out(
    site: Any, shared_second_cluster: Any, relay: Relay
) -> None:
    relay.moves_after = None
    done = run(site, "--limit", "postgres_servers:!db2", inventory=fleet(site, shared_second_cluster))
    assert done.returncode == 0, done.stdout + done.stderr
    found = tables.rows(done.stdout)
    assert {(one.client, one.server) for one in found} == {("db1", "db1")}
    assert {one.host for one in found} == {"db1.test", "localhost", "db.test"}
    assert (
        "Not verified, because --limit leaves these hosts out: connections to db2, connections from app1."
        in done.stdout
    )


def test_variables_that_do_not_reach_the_playbook_are_told_and_how_to_have_them_reach_it(
    site: Any, shared_second_cluster: Any
) -> None:
    inventory = fleet(site, shared_second_cluster)
    identities = [one.pop("postgres_client_identities") for one in inventory["postgres_clients"]["hosts"].values()]
    beside = site.directory / "plays" / "group_vars"
    beside.mkdir(parents=True)
    (beside / "postgres_clients.yml").write_text(json.dumps({"postgres_client_identities": identities[0]}))
    (beside.parent / "site.yml").write_text(json.dumps([{"ansible.builtin.import_playbook": "pgops.tls.site"}]))
    playbook = [{"ansible.builtin.import_playbook": "plays/site.yml"}]
    done = run(site, "--check", inventory=inventory, playbook=playbook)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING: no connection was verified: no host of group postgres_clients has" in done.stdout
    assert "Connections without TLS are still refused by db1, db2" in done.stdout
    assert "variables there do not reach the playbooks of this collection. Move them to group_vars" in done.stdout
