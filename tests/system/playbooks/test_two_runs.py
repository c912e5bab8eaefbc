# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two operators start site.yml against the same hosts at the same moment."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.postgres import wire
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests.openssl_ca import Company
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH, SITE

pytestmark = ONLY_THOROUGH


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], shared_cluster: Any) -> Any:
    """Make a server that nobody has set up yet; it has the role that will log in."""
    shared_cluster.psql("CREATE ROLE app LOGIN")
    return site_on(shared_cluster)


def at_once(site: Any, **variables: object) -> None:
    """Run the playbook twice at once; both have to end well, and to have verified what they made."""
    (site.directory / "inventory.yml").write_text(json.dumps(site.inventory()))
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "inventory.yml", str(SITE)]
    command += ["-e", json.dumps(variables)]
    runs = [
        subprocess.Popen(
            command, cwd=site.directory, env=site.settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _one in range(2)
    ]
    outputs = [run.communicate(timeout=600)[0] for run in runs]
    for run, output in zip(runs, outputs):
        assert run.returncode == 0, output
        assert re.search(r"(\d\d) connections from 1 client hosts?: \1 as expected", output), output


def issued(site: Any, authority: str) -> list[str]:
    lines = (site.authorities / "ledger.jsonl").read_text().splitlines()
    return [line["sha256"] for line in map(json.loads, lines) if line["authority"] == authority]


def check(site: Any) -> None:
    """Check that what is in use was issued, is on disk and is served, and that a third run changes nothing."""
    server = (site.cluster.home / "tls/current/server.crt").read_text()
    client = (site.homes / site.os_users[0] / ".postgresql/postgresql.crt").read_text()
    served = wire.observe(wire.Endpoint("127.0.0.1", site.cluster.port)).leaf.sha256
    assert served == certificate.read_pem(server, "server.crt")[0].sha256
    assert served in issued(site, "server")
    assert certificate.read_pem(client, "postgresql.crt")[0].sha256 in issued(site, "client")
    before = site.files()
    assert site.run().returncode == 0
    assert site.files() == before


def test_two_first_runs_at_once_end_well(site: Any) -> None:
    at_once(site)
    check(site)


def test_two_renewals_at_once_are_both_in_the_ledger(site: Any) -> None:
    before = {name: len(issued(site, name)) for name in ("server", "client")}
    at_once(site, postgres_server_renew=True, postgres_client_renew=True)
    assert {name: len(issued(site, name)) - number for name, number in before.items()} == {"server": 2, "client": 2}
    check(site)


def test_two_runs_at_once_take_what_people_have_signed_once(site_on: Callable[[Any], Any], billing: Any) -> None:
    billing.psql("CREATE ROLE app LOGIN")
    site = site_on(billing)
    company, requests = Company(site.directory / "company"), site.directory / "requests"
    files = {"type": "files", "directory": str(requests), "roots": str(company.folder / "root.pem")}
    site.run = functools.partial(site.run, postgres_ca_sources={"server": files})
    assert site.run().returncode == 0
    company.sign(requests / "db1.csr")
    at_once(site, postgres_ca_sources={"server": files})
    assert len(issued(site, "server")) == 1
    check(site)
