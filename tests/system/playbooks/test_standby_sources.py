# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""People sign the certificates of a primary and of its standby: it follows as before until all have come."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.tests.endings import as_line, well
from ansible_collections.pgops.tls.tests.openssl_ca import Company
from ansible_collections.pgops.tls.tests.replicas import ROLE, SECRET
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH, RECAP
from ansible_collections.pgops.tls.tests.system.playbooks.test_standbys import fleet, follow, home_of_clusters, serial

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another OS user"),
    ONLY_THOROUGH,
]


@pytest.fixture
def home() -> Iterator[Path]:
    with home_of_clusters() as made:
        yield made


def test_a_standby_follows_as_before_until_all_certificates_have_come(
    site_on: Callable[[Any], Any], shared_cluster: Any, billing: Any, home: Path
) -> None:
    follow(shared_cluster, billing)
    site = site_on(shared_cluster)
    companies = {name: Company(site.directory / name) for name in ("server", "client")}
    requests = {name: site.directory / f"{name}-requests" for name in companies}
    files = {
        name: {"type": "files", "directory": str(requests[name]), "roots": str(one.folder / "root.pem")}
        for name, one in companies.items()
    }
    sources = {"server": files["server"], "client": {**files["client"], "dedicated": True}}

    def run() -> tuple[str, set[str]]:
        # Its rules may not shut the standby out that follows in plaintext
        done = site.run(
            inventory=fleet(site, billing, home), postgres_ca_sources=sources, postgres_server_plaintext="allow"
        )
        assert SECRET not in well(done)
        return as_line(done), {host for host, number, *_others in RECAP.findall(done.stdout) if number != "0"}

    def sign(purpose: str, *names: str) -> None:
        for name in names:
            companies[purpose].sign(requests[purpose] / f"{name}.csr")

    assert "Certificates that wait to be signed: 4." in run()[0]
    sign("client", f"db2+postgres+{ROLE}", f"app1+{site.os_users[0]}+app")
    assert "Certificates that wait to be signed: 2." in run()[0]
    assert not serial(site), "the primary has no TLS yet"
    sign("server", "db2")
    assert "Certificates that wait to be signed: 1." in run()[0]
    assert not serial(site)
    sign("server", "db1")
    assert "wait to be signed" not in run()[0]
    found = serial(site)
    assert found
    assert run()[1] == set()
    assert serial(site) == found
