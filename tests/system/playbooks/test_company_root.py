# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our issuing CA below the root of a company, which is ``openssl ca``: from nothing, and from an own root."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests import loops
from ansible_collections.pgops.tls.tests.endings import as_line, well
from ansible_collections.pgops.tls.tests.openssl_ca import Company
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH, RECAP


def with_company(site: Any) -> Any:
    site.cluster.psql("CREATE ROLE app LOGIN")
    site.company = Company(site.directory / "company")
    site.requests = site.directory / "requests"
    return site


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], shared_cluster: Any) -> Any:
    """Give a site with a server that has a role app, and a company that signs."""
    return with_company(site_on(shared_cluster))


@pytest.fixture(scope="module")
def another(site_on: Callable[[Any], Any], billing: Any) -> Any:
    """Give another one."""
    return with_company(site_on(billing))


def source(site: Any) -> dict[str, Any]:
    return {"type": "own", "directory": str(site.requests), "roots": str(site.company.folder / "root.pem")}


def run(site: Any, **more: Any) -> subprocess.CompletedProcess[str]:
    done = site.run(**{"postgres_ca_sources": {"server": source(site)}, **more})
    assert well(done), done.stdout[-6000:]
    return done  # type: ignore[no-any-return]


def certificates(site: Any) -> list[certificate.Certificate]:
    path: Path = site.cluster.home / "tls" / "current" / "server.crt"
    return certificate.read_pem(path.read_text(), str(path))


def leaf(site: Any) -> certificate.Certificate:
    return certificates(site)[0]


def chain(site: Any) -> list[str]:
    return [one.issuer_common_name for one in certificates(site)]


ROTATE = {"playbook": "pgops.tls.rotate_ca", "postgres_ca_rotate": "server", "postgres_ca_outside_trust": "none"}


@ONLY_THOROUGH
def test_from_nothing_to_verified_below_the_company(site: Any) -> None:
    first = as_line(run(site))
    request = site.requests / "issuing-ca-server.csr"
    assert f"issuing CA of server: {request} waits for the certificate of an issuing CA" in first
    assert f"db1: the server CA cannot issue it yet, because {request} waits to be signed." in first
    assert not (site.cluster.home / "tls" / "current").exists()
    site.company.sign_issuing(site.requests)
    assert "wait to be signed" not in as_line(run(site))
    assert chain(site)[1:] == ["Company Issuing", "Company Root"]
    trusted = f"host=localhost port={site.cluster.port} user=app dbname=postgres sslmode=verify-full"
    assert site.connect(0, trusted).returncode == 0
    second = run(site)
    assert {number for _host, number, _unreachable, _failed in RECAP.findall(second.stdout)} == {"0"}


def connecting(site: Any) -> loops.Work:
    return loops.by_psql(site, f"host=localhost port={site.cluster.port} user=app dbname=postgres sslmode=verify-full")


@ONLY_THOROUGH
def test_a_renewal_needs_nobody_of_the_company(site: Any) -> None:
    before = leaf(site).serial
    run(site, postgres_server_renew=True)
    assert leaf(site).serial != before
    assert chain(site)[1:] == ["Company Issuing", "Company Root"]


@ONLY_THOROUGH
def test_back_to_an_own_root_by_the_phases(site: Any) -> None:
    with loops.none_fails(connecting(site)):
        run(site, postgres_ca_sources={}, **ROTATE)
    issuing, root = chain(site)
    assert issuing.startswith("PostgreSQL server issuing CA ")
    assert root.startswith("PostgreSQL server root CA ")


@ONLY_THOROUGH
def test_from_an_own_root_to_the_company_by_the_phases(another: Any) -> None:
    run(another, postgres_ca_sources={})
    assert "the request for an issuing CA (own_root)" in as_line(run(another))
    another.company.sign_issuing(another.requests)
    with loops.none_fails(connecting(another)):
        assert "To let it issue, run ansible-playbook pgops.tls.rotate_ca." in as_line(run(another, **ROTATE))
    assert chain(another)[1:] == ["Company Issuing", "Company Root"]
    again = another.run(postgres_ca_sources={"server": source(another)}, postgres_ca_phase="stage", **ROTATE)
    assert again.returncode != 0
    assert "the next root of the server CA is a company's (postgres_ca_sources.server)" in as_line(again)
