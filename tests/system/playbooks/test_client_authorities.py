# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster gets a client authority of its own: nobody is shut out on the way, and afterwards the others are."""

from __future__ import annotations

import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests import loops, tables
from ansible_collections.pgops.tls.tests.endings import as_line, well
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH

ROLES = {"db1": ("app", "shop"), "db2": ("app", "billing")}  # and the database of each


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], shared_cluster: Any, billing: Any) -> Any:
    """Give both servers a role app, each with a database of its own."""
    for cluster, (role, database) in zip((shared_cluster, billing), ROLES.values()):
        cluster.psql(f"CREATE ROLE {role} LOGIN")
        cluster.psql(f"CREATE DATABASE {database} OWNER {role}")
    return site_on(shared_cluster)


@pytest.fixture
def inventory(site: Any, billing: Any) -> dict[str, Any]:
    """Return an inventory in which db1 trusts the usual client authority, and db2 one of its own."""
    found = plain(site, billing)
    found["postgres_servers"]["hosts"]["db2"]["postgres_server_client_authority"] = "billing"
    return found


def plain(site: Any, billing: Any) -> dict[str, Any]:
    """Return an inventory of two servers that trust the usual client authority, each with a client of its own."""
    found: dict[str, Any] = site.inventory()
    found["postgres_servers"]["hosts"]["db2"] = site.server_on(billing)
    users = site.os_users
    identities = [
        {"role": role, "os_user": user, "databases": [database], "servers": [server]}
        for user, (server, (role, database)) in zip(users, ROLES.items())
    ]
    found["postgres_clients"]["hosts"] = {"app1": {"postgres_client_identities": identities}}
    return found


def trusted(site: Any, cluster: Any) -> list[str]:
    """Return the kinds of the authorities that a server trusts, the first words of their names."""
    folder = cluster.home / "tls" if cluster is not site.cluster else None
    path = next((folder or cluster.home).rglob("current/trusted-clients.crt"))
    names = [one.common_name for one in certificate.read_pem(path.read_text(), str(path))]
    return sorted({name.removeprefix("PostgreSQL ").partition(" ")[0] for name in names})


def issuer(site: Any, number: int) -> str:
    """Return who has issued the certificate of one of the OS users."""
    home = subprocess.run(
        ["getent", "passwd", site.os_users[number]], check=True, capture_output=True, text=True
    ).stdout.split(":")[5]
    (leaf, *_chain) = certificate.read_pem((Path(home) / ".postgresql/postgresql.crt").read_text(), "postgresql.crt")
    return leaf.issuer_common_name


def connect(site: Any, number: int, port: int, database: str) -> subprocess.CompletedProcess[str]:
    """Connect as one of the OS users with its default files, in mode verify-full."""
    done: subprocess.CompletedProcess[str] = site.connect(
        number, f"host=localhost port={port} user=app dbname={database} sslmode=verify-full"
    )
    return done


def test_both_clusters_begin_with_the_usual_authority(site: Any, billing: Any) -> None:
    well(site.run(inventory=plain(site, billing)))
    assert trusted(site, billing) == ["client"]
    assert connect(site, 0, site.cluster.port, "shop").stdout == "1\n"
    assert connect(site, 1, billing.port, "billing").stdout == "1\n"


def test_check_mode_shows_the_move_and_makes_no_authority(site: Any, inventory: dict[str, Any]) -> None:
    before = site.files()
    output = well(site.run("--check", "--diff", inventory=inventory))
    assert "make the billing CA: 'PostgreSQL billing root CA " in output
    assert re.findall(r"^(\w+) +: .*changed=1 ", output, re.MULTILINE) == ["app1", "db2"]
    assert site.files() == before


@pytest.mark.parametrize("how", ["left out", pytest.param("failed", marks=ONLY_THOROUGH)])
def test_a_client_keeps_its_certificate_while_its_server_does_not_follow(
    site: Any, billing: Any, inventory: dict[str, Any], how: str
) -> None:
    before = issuer(site, 1)
    inventory["postgres_servers"]["hosts"]["db2"]["postgres_server_login_user"] = "nobody" if how == "failed" else ""
    done = site.run(*(["--limit", "app1"] if how == "left out" else []), inventory=inventory)
    assert (done.returncode == 0) == (how == "left out"), done.stdout
    assert trusted(site, billing) == ["client"]
    assert issuer(site, 1) == before
    assert connect(site, 1, billing.port, "billing").stdout == "1\n"
    assert f"{site.os_users[1]}/app: it keeps its certificate until all of its servers follow" in as_line(done)


def test_as_long_as_a_client_is_not_proven_the_server_trusts_both(
    site: Any, billing: Any, inventory: dict[str, Any]
) -> None:
    output = well(site.run("--skip-tags", "verify", inventory=inventory))
    assert trusted(site, billing) == ["billing", "client"]
    assert "db2: it still trusts client authority client beside billing, because app1/" in output
    assert connect(site, 1, billing.port, "billing").stdout == "1\n"


def test_no_connection_fails_on_the_way_back_and_there_again(
    site: Any, billing: Any, inventory: dict[str, Any]
) -> None:
    def connecting(goes_on: loops.GoesOn) -> Counter[str]:
        ended: Counter[str] = Counter()
        while goes_on():
            done = connect(site, 1, billing.port, "billing")
            ended[done.stdout.strip() or done.stderr] += 1
            time.sleep(0.1)
        return ended

    with loops.beside(connecting) as counted:
        well(site.run(inventory=plain(site, billing)))
        assert trusted(site, billing) == ["client"]
        output = well(site.run(inventory=inventory))
        assert trusted(site, billing) == ["billing"]
    assert list(counted[0]) == ["1"], counted
    assert counted[0]["1"] > 20
    assert "it still trusts" not in output
    assert trusted(site, site.cluster) == ["client"]


def test_the_next_run_changes_nothing(site: Any, inventory: dict[str, Any]) -> None:
    before = site.files()
    output = well(site.run(inventory=inventory))
    refused = [row for row in tables.rows(output) if row.wanted == "refused: certificate of another client authority"]
    assert sorted((row.server, row.result) for row in refused) == [("db1", "ok"), ("db2", "ok")]
    assert re.findall(r"changed=([1-9]\d*)", output) == []
    assert site.files() == before


def test_a_certificate_of_one_does_not_log_in_at_a_server_of_the_other(site: Any, billing: Any) -> None:
    for number, port, database in ((0, billing.port, "billing"), (1, site.cluster.port, "shop")):
        done = connect(site, number, port, database)
        assert done.returncode == 2
        assert "unknown ca" in done.stderr, "and this is why, although the role exists there"


def test_a_server_that_lets_in_certificates_of_the_other_is_found(site: Any, inventory: dict[str, Any]) -> None:
    extra = "".join((site.authorities / "client/0001" / name).read_text() for name in ("issuing.crt", "root.crt"))
    inventory["postgres_servers"]["hosts"]["db2"]["postgres_server_extra_trusted_clients"] = extra
    done = site.run(inventory=inventory)
    assert done.returncode == 2
    assert "to server db2 by name localhost" in done.stdout
    assert "expected refused: certificate of another client authority; it was accepted" in done.stdout


@ONLY_THOROUGH
def test_one_authority_is_replaced_alone(site: Any, billing: Any, inventory: dict[str, Any]) -> None:
    before = [issuer(site, number) for number in (0, 1)]
    inventory["all"]["vars"]["postgres_ca_outside_trust"] = "none"
    output = well(site.run(inventory=inventory, playbook="pgops.tls.rotate_ca", postgres_ca_rotate="billing"))
    assert "billing CA, phase steady" in output
    after = [issuer(site, number) for number in (0, 1)]
    assert (after[0] == before[0], after[1] == before[1]) == (True, False)
    assert connect(site, 1, billing.port, "billing").stdout == "1\n"


def test_servers_of_two_authorities_in_one_identity_stop_the_run_before_it_begins(
    site: Any, inventory: dict[str, Any]
) -> None:
    del inventory["postgres_clients"]["hosts"]["app1"]["postgres_client_identities"][0]["servers"]
    before = site.files()
    done = site.run(inventory=inventory)
    assert done.returncode == 2
    assert (
        f"app1: postgres_client_identities[0].servers: the servers of identity {site.os_users[0]}/app trust different "
        "client authorities, client (db1) and billing (db2). A certificate is from one of them. Make it one identity"
    ) in done.stdout
    assert site.files() == before


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", ["server", "Billing", "b/c", ""])
def test_a_name_that_no_authority_can_have_stops_the_run_before_it_begins(
    site: Any, inventory: dict[str, Any], name: str
) -> None:
    inventory["postgres_servers"]["hosts"]["db2"]["postgres_server_client_authority"] = name
    before = site.files()
    done = site.run(inventory=inventory)
    assert done.returncode == 2
    assert f"db2: postgres_server_client_authority: found '{name}', expected the name of a client" in done.stdout
    assert site.files() == before


@ONLY_THOROUGH
def test_one_os_user_has_the_role_of_both_with_files_and_services_for_each(
    site: Any, inventory: dict[str, Any], billing: Any
) -> None:
    both = [
        {"role": "app", "name": name, "os_user": site.os_users[0], "databases": databases, "servers": [server]}
        for name, server, databases in (("app", "db1", ["shop", "postgres"]), ("other", "db2", ["billing"]))
    ]
    inventory["postgres_clients"]["hosts"]["app1"]["postgres_client_identities"] = both
    well(site.run(inventory=inventory))
    output = well(site.run(inventory=inventory))
    assert output.count("changed=0") == 3
    tried = [(row.server, row.wanted) for row in tables.rows(output) if row.client == "app1" and row.result == "ok"]
    assert tried.count(("db1", "accepted, service")) == 2, "the one of the identity, and that of the second database"
    assert tried.count(("db2", "accepted, service")) == 1
    assert [server for server, wanted in tried if "another client authority" in wanted] == ["db2", "db1"]
    for service in ("app@db1", "app@db1/postgres", "other@db2", f"other host=localhost port={billing.port}"):
        done = site.connect(0, f"service={service}")
        assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    other = site.connect(0, f"service=other host=localhost port={site.cluster.port} dbname=shop")
    assert "unknown ca" in other.stderr, "other has a certificate of its own"
