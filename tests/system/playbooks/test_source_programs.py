# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers and roles whose certificates a program of the guide signs, or a CA by ACME: from nothing to verified."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests import guides, pebbles
from ansible_collections.pgops.tls.tests.endings import as_line, well
from ansible_collections.pgops.tls.tests.openssl_ca import Company
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH, RECAP


def program(folder: Path, name: str) -> Path:
    """Write a program of the guide."""
    path = folder / name
    path.write_text(guides.example(name))
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], shared_cluster: Any) -> Any:
    """Give a site with a CA of ``openssl ca`` for servers, and another one for clients."""
    shared_cluster.psql("CREATE ROLE app LOGIN")
    found = site_on(shared_cluster)
    found.program = program(found.directory, "sign-with-openssl")
    found.companies = {name: Company(found.directory / name) for name in ("server", "client")}
    return found


def sources(site: Any) -> dict[str, Any]:
    return {
        name: {
            "type": "command",
            "command": [str(site.program), str(company.folder / "ca.conf")],
            "roots": str(company.folder / "root.pem"),
            "dedicated": True,
        }
        for name, company in site.companies.items()
    }


def served(site: Any) -> certificate.Certificate:
    path = site.cluster.home / "tls" / "current" / "server.crt"
    return certificate.read_pem(path.read_text(), str(path))[0]


def changed(done: subprocess.CompletedProcess[str]) -> set[str]:
    return {number for _host, number, _unreachable, _failed in RECAP.findall(done.stdout)}


def connects(site: Any) -> bool:
    return bool(site.connect(0, f"host=localhost port={site.cluster.port} user=app dbname=postgres").returncode == 0)


def test_from_nothing_to_verified_by_programs(site: Any) -> None:
    first = site.run(postgres_ca_sources=sources(site))
    assert well(first), first.stdout[-4000:]
    assert served(site).issuer_common_name == "Company Issuing"
    assert connects(site)
    second = site.run(postgres_ca_sources=sources(site))
    assert well(second), second.stdout[-4000:]
    assert changed(second) == {"0"}


@ONLY_THOROUGH
def test_a_renewal_by_programs(site: Any) -> None:
    before = served(site).serial
    done = site.run(postgres_ca_sources=sources(site), postgres_server_renew=True, postgres_client_renew=True)
    assert well(done), done.stdout[-4000:]
    assert served(site).serial != before
    assert connects(site)


@ONLY_THOROUGH
def test_a_program_that_waits_or_fails_changes_nothing(site: Any) -> None:
    before, text = served(site).serial, site.program.read_text()
    site.program.write_text('#!/bin/sh\necho \'{"waiting": {"db1": "ticket 4711 is open"}}\'\n')
    waiting = site.run(postgres_ca_sources=sources(site), postgres_server_renew=True)
    assert well(waiting), waiting.stdout[-4000:]
    assert "db1: ticket 4711 is open" in as_line(waiting)
    site.program.write_text("#!/bin/sh\necho the card is not in the reader >&2\nexit 1\n")
    failed = site.run(postgres_ca_sources=sources(site), postgres_server_renew=True)
    assert failed.returncode != 0
    assert "postgres_ca_sources.server.command: " in as_line(failed)
    assert "says: the card is not in the reader. Fix that, then rerun." in as_line(failed)
    assert served(site).serial == before
    assert connects(site)
    site.program.write_text(text)
    assert well(site.run(postgres_ca_sources=sources(site)))
    assert served(site).serial != before, "the renewal was asked for once"
    assert changed(site.run(postgres_ca_sources=sources(site))) == {"0"}


# By ACME


@pytest.fixture(scope="module")
def pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pebbles.Pebble]:
    """Run a CA that refuses half of all nonces."""
    if shutil.which("pebble") is None or importlib.util.find_spec("acme") is None:
        pytest.skip("no Pebble, or no library for ACME")
    with pebbles.running(tmp_path_factory.mktemp("pebble"), PEBBLE_WFE_NONCEREJECT="50") as found:
        yield found


@ONLY_THOROUGH
def test_from_nothing_to_verified_by_acme(site_on: Callable[[Any], Any], billing: Any, pebble: pebbles.Pebble) -> None:
    billing.psql("CREATE ROLE app LOGIN")
    site = site_on(billing)
    roots = site.directory / "acme-root.pem"
    roots.write_text(pebble.root())
    shows = [str(program(site.directory, "show-files")), str(pebble.web)]
    wanted = {"server": pebble.declared(shows, roots)}
    first = site.run(postgres_ca_sources=wanted)
    assert well(first), first.stdout[-4000:]
    assert served(site).issuer_common_name.startswith("Pebble Intermediate")
    assert connects(site)
    second = site.run(postgres_ca_sources=wanted)
    assert well(second), second.stdout[-4000:]
    assert changed(second) == {"0"}
    before = served(site).serial
    renewed = site.run(postgres_ca_sources=wanted, postgres_server_renew=True)
    assert well(renewed), renewed.stdout[-4000:]
    assert served(site).serial != before
    assert connects(site)
