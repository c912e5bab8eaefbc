# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server behind another port for one client host: each tries the names that it can reach, where it can reach them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.pgops.tls.tests import tables
from ansible_collections.pgops.tls.tests.relays import Relay
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH


@pytest.fixture
def relay(shared_cluster: Any) -> Iterator[Relay]:
    """Forward another port to the server, as address translation does."""
    with Relay([("127.0.0.1", shared_cluster.port)]).leading() as leading:
        yield leading


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], shared_cluster: Any) -> Any:
    """Make a server with two roles, and their OS users."""
    shared_cluster.psql("CREATE ROLE app LOGIN; CREATE ROLE other LOGIN")
    return site_on(shared_cluster)


def fleet(site: Any, *names: object) -> dict[str, Any]:
    """Return an inventory with a server that has these names, and two client hosts, the second in group far."""
    found: dict[str, Any] = site.inventory()
    found["postgres_servers"]["hosts"]["db1"]["postgres_server_names"] = list(names)
    one, two = (
        {"postgres_client_identities": [{"role": role, "os_user": user}]}
        for role, user in zip(("app", "other"), site.os_users)
    )
    found["postgres_clients"]["hosts"] = {"app1": one, "app2": two}
    found["far"] = {"hosts": {"app2": {}}}
    return found


def names_in_use(site: Any) -> str:
    """Return the names in the certificate of the server."""
    path = site.cluster.home / "tls" / "current" / "server.crt"
    command = ["openssl", "x509", "-in", str(path), "-noout", "-ext", "subjectAltName"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@ONLY_THOROUGH
def test_each_client_host_tries_the_names_that_it_reaches_on_their_ports(site: Any, relay: Relay) -> None:
    names = (
        {"name": "localhost", "from": ["app1"]},
        {"name": "localhost", "port": relay.port, "from": ["far"]},
        {"name": "retired.invalid", "from": []},
    )
    done = site.run(inventory=fleet(site, *names))
    assert done.returncode == 0, done.stdout + done.stderr
    found = tables.rows(done.stdout)
    tried = {(one.client, one.server, one.name, one.result) for one in found if one.result != "skipped"}
    near, far = f"localhost:{site.cluster.port}", f"localhost:{relay.port}"
    assert tried == {("app1", "db1", near, "ok"), ("app2", "db1", far, "ok")}
    wanted = [one.wanted for one in found if one.client == "app2"]
    assert {"accepted", "accepted, service", "accepted, default files", "refused: plaintext"} <= set(wanted)
    assert len(relay.led_to) >= len(wanted) - 1, "libpq alone refuses a foreign root, and it connects for that, too"
    (skipped,) = [one for one in found if one.result == "skipped"]
    assert skipped.name == f"retired.invalid:{site.cluster.port}"
    assert skipped.reason == "its from is empty: no client host connects by this name"
    assert {"DNS:localhost", "DNS:retired.invalid"} <= set(re.findall(r"DNS:[^,\s]+", names_in_use(site)))

    before = site.files()
    again = site.run(inventory=fleet(site, *names))
    assert again.returncode == 0, again.stdout + again.stderr
    assert site.files() == before, "a second run changes nothing"
    service = site.homes / site.os_users[1] / ".pg_service.conf"
    assert f"[other@db1]\nuser=other\nhost=localhost\nport={relay.port}\n" in service.read_text()
    moved = site.run(inventory=fleet(site, "localhost", {"name": "retired.invalid", "from": []}))
    assert moved.returncode == 0, moved.stdout + moved.stderr
    changed = {path for path, traits in site.files().items() if before.get(path) != traits}
    assert {path for path in changed if not path.startswith(str(site.homes))} == set(), "the certificate is the same"
    assert str(service) in changed
    assert f"port={site.cluster.port}\n" in service.read_text()


@ONLY_THOROUGH
def test_a_client_host_that_reaches_no_name_is_told_and_fails_nothing(site: Any) -> None:
    done = site.run(inventory=fleet(site, {"name": "localhost", "from": ["app1"]}))
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = [one for one in tables.rows(done.stdout) if one.client == "app2"]
    assert (row.server, row.wanted, row.result) == ("db1", "accepted", "skipped")
    assert row.reason == "this client host can reach the server by none of its names"


def test_a_run_in_which_from_leaves_out_everybody_warns_in_table_and_summary(site: Any) -> None:
    done = site.run(inventory=fleet(site, {"name": "localhost", "from": []}))
    assert done.returncode == 0, done.stdout + done.stderr
    warning = "WARNING: no connection was verified: all were skipped (its from is empty: no client host connects by"
    assert done.stdout.count(warning) == 2, done.stdout
    assert "If a name has from, list the client hosts there that can reach it." in done.stdout
