# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PgBouncer whose certificate people sign, and which logs in to PostgreSQL by one that a company's program signs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests import companies, guides, poolers
from ansible_collections.pgops.tls.tests.endings import as_line, well
from ansible_collections.pgops.tls.tests.openssl_ca import Company
from ansible_collections.pgops.tls.tests.poolers import Pooler
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH, RECAP

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another OS user"),
    pytest.mark.skipif(not shutil.which("pgbouncer"), reason="there is no PgBouncer here"),
]
WAITS = '#!/bin/sh\necho \'{"waiting": {"pool1/pooler/back": "ticket 4711 is open"}}\'\n'


@pytest.fixture(scope="module")
def pooler(shared_cluster: Any) -> Iterator[Pooler]:
    """Run a PgBouncer whose database has the name that it has in PostgreSQL."""
    shared_cluster.psql("CREATE ROLE app LOGIN")
    shared_cluster.psql("CREATE DATABASE shop")
    with poolers.running(shared_cluster) as running:
        running.write_ini(database=f"host=127.0.0.1 port={shared_cluster.port} dbname=shop")
        running.restart()
        yield running


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], shared_cluster: Any) -> Any:
    """Give a site with a company that signs by hand for servers, and one that signs by a program for clients."""
    found = site_on(shared_cluster)
    found.companies = {name: Company(found.directory / name) for name in ("server", "client")}
    found.requests = found.directory / "requests"
    found.program = found.directory / "sign-with-openssl"
    found.program.write_text(guides.example(found.program.name))
    found.program.chmod(0o755)
    return found


def by_program(site: Any, name: str) -> dict[str, Any]:
    folder = site.companies[name].folder
    command = [str(site.program), str(folder / "ca.conf")]
    return {"type": "command", "command": command, "roots": str(folder / "root.pem"), "dedicated": True}


def by_hand(site: Any) -> dict[str, Any]:
    return {
        "type": "files",
        "directory": str(site.requests),
        "roots": str(site.companies["server"].folder / "root.pem"),
    }


def run(site: Any, pooler: Pooler, *, server: dict[str, Any] | None = None, **variables: Any) -> tuple[str, set[str]]:
    """Run site.yml, which has to end well; return its output in one line, and which hosts it has changed."""
    inventory = poolers.declare(site.inventory(), pooler, postgres_pooler_servers=["postgres_servers"])
    inventory["postgres_clients"]["hosts"]["app1"]["postgres_client_identities"] = [
        {"role": "app", "os_user": site.os_users[0], "databases": ["shop"], "servers": ["pool1"]},
    ]
    sources = {"server": server or by_hand(site), "client": by_program(site, "client")}
    done = site.run(inventory=inventory, postgres_ca_sources=sources, **variables)
    well(done)
    return as_line(done), {host for host, number, *_others in RECAP.findall(done.stdout) if number != "0"}


def sign(site: Any, name: str) -> None:
    site.companies["server"].sign(site.requests / f"{name}.csr")


def leaves(pooler: Pooler) -> list[certificate.Certificate]:
    return [certificate.read_pem(one.decode(), "leaf")[0] for one in pooler.leaves()]


def through(site: Any, pooler: Pooler) -> str:
    """Connect through the pooler as the client host does; return the error, '' is well."""
    target = f"host=localhost port={pooler.port} user=app dbname=shop sslmode=verify-full"
    return str(site.connect(0, target).stderr)


@ONLY_THOROUGH
def test_a_pooler_stays_as_it_is_until_its_certificate_has_come(site: Any, pooler: Pooler) -> None:
    before = pooler.ini.read_bytes()
    output, changed = run(site, pooler)
    assert "Certificates that wait to be signed: 2." in output
    assert f"pool1/pooler/front: {site.requests}/pool1+pooler+front.csr waits for its certificate" in output
    assert "pool1" not in changed
    sign(site, "db1")
    output, changed = run(site, pooler)
    assert "Certificates that wait to be signed: 1." in output
    assert changed == {"db1"}
    assert "each one that can be tried needs a certificate that comes in a later run" in output
    assert pooler.ini.read_bytes() == before
    assert not (pooler.directory / "current").exists()
    sign(site, "pool1+pooler+front")
    output, changed = run(site, pooler)
    assert "wait to be signed" not in output
    assert changed == {"pool1"}
    assert [one.issuer_common_name for one in leaves(pooler)] == ["Company Issuing"] * 2
    assert pooler.serial() == str(leaves(pooler)[1].serial), "PostgreSQL sees the certificate of the company"
    assert through(site, pooler) == ""
    assert run(site, pooler)[1] == set()


@ONLY_THOROUGH
def test_renewals_that_wait_hold_nothing_else_up(site: Any, pooler: Pooler) -> None:
    """Both certificates stay, and what the pooler trusts follows at once: a move to another root begins with that."""
    before, text = leaves(pooler), site.program.read_text()
    site.program.write_text(WAITS)
    roots = site.companies["server"].folder / "root.pem"
    roots.write_text(roots.read_text() + companies.company("Next").root.pem)
    output, changed = run(site, pooler, postgres_pooler_renew=True)
    assert "pool1/pooler/back: ticket 4711 is open" in output
    assert "pool1/pooler/front: " in output
    assert leaves(pooler) == before
    assert "pool1" in changed
    assert (pooler.directory / "current" / "root.crt").read_text().count("BEGIN CERTIFICATE") == 2
    output, changed = run(site, pooler)
    assert changed == set(), "waiting is no change"
    assert "pool1/pooler/back: ticket 4711 is open" in output
    site.program.write_text(text)
    sign(site, "pool1+pooler+front")
    run(site, pooler)
    assert not {one.serial for one in before} & {one.serial for one in leaves(pooler)}
    assert through(site, pooler) == ""


@ONLY_THOROUGH
def test_another_way_to_the_same_company_changes_nothing_and_renews_at_once(site: Any, pooler: Pooler) -> None:
    program = by_program(site, "server")
    assert run(site, pooler, server=program)[1] == set()
    before = leaves(pooler)
    assert "pool1" in run(site, pooler, server=program, postgres_pooler_renew=True)[1]
    assert not {one.serial for one in before} & {one.serial for one in leaves(pooler)}
    assert pooler.serial() == str(leaves(pooler)[1].serial)
    assert through(site, pooler) == ""
