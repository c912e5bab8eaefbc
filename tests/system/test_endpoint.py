# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module endpoint_info's parts against a real server."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import wire
from ansible_collections.pgops.tls.plugins.module_utils.verification.endpoint import Wanted, probe
from ansible_collections.pgops.tls.tests.providers import Generation, pem
from ansible_collections.pgops.tls.tests.servers import TODAY
from ansible_collections.pgops.tls.tests.shared import DAY


@pytest.fixture
def served(cluster: Any, server_authority: Any, client_authority: Any) -> Path:
    """Let the cluster serve a certificate of 10 days for localhost and a wildcard; return the certificate's path."""
    names = "DNS:localhost,IP:127.0.0.1,DNS:*.db.example.com"
    certificate, key = server_authority.issue("probed", "serverAuth", names)
    chain = cluster.home / "chain.crt"
    chain.write_bytes(certificate.read_bytes() + server_authority.root.read_bytes())
    cluster.serve(chain, key, client_authority.root)
    return certificate


def look(cluster: Any, *, host: str = "localhost", name: str = "", direct: bool = False, **wanted: Any) -> Any:
    endpoint = wire.Endpoint(host, cluster.port, 5.0, name)
    return probe(endpoint, Wanted(**wanted), int(time.time()), direct=direct)


def test_the_facts_are_those_of_the_served_certificate(cluster: Any, served: Path) -> None:
    found = look(cluster)
    leaf = found["chain"][0]
    argv = ["openssl", "x509", "-in", str(served), "-noout", "-fingerprint", "-sha256"]
    fingerprint = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert leaf["sha256"] == fingerprint.strip().partition("=")[2].replace(":", "").lower()
    assert (leaf["subject"], leaf["issuer"]) == ("probed", "Test server CA")
    assert leaf["names"] == ["localhost", "127.0.0.1", "*.db.example.com"]
    assert leaf["days_left"] in (9, 10)
    assert leaf["key_type"] == "P-256"
    assert found["protocol"] == "TLSv1.3"
    is_list = int(cluster.psql("SHOW server_version_num")) >= 180000  # its default begins with X25519
    assert found["group"] == ("X25519" if is_list else "prime256v1")


@pytest.mark.skipif(sys.version_info < (3, 10), reason="Python shows the chain from 3.10 on")
@pytest.mark.usefixtures("served")
def test_the_whole_chain_is_shown(cluster: Any) -> None:
    assert [one["subject"] for one in look(cluster)["chain"]] == ["probed", "Test server CA"]


@pytest.mark.usefixtures("served")
def test_demands_that_are_met_pass(cluster: Any, server_authority: Any) -> None:
    names = ["LOCALHOST", "127.0.0.1", "one.db.example.com"]
    assert look(cluster, names=names, roots=server_authority.root.read_text(), min_days=5)["chain"]


@pytest.mark.usefixtures("served")
def test_a_missing_name_fails_and_still_gives_the_facts(cluster: Any) -> None:
    with pytest.raises(TlsError, match=r"lacks the names a\.b\.db\.example\.com; it holds localhost") as caught:
        look(cluster, names=["localhost", "a.b.db.example.com"])
    assert caught.value.details["chain"][0]["subject"] == "probed"


@pytest.mark.usefixtures("served")
def test_an_end_that_is_too_near_fails(cluster: Any) -> None:
    with pytest.raises(TlsError, match="days; expected at least 30"):
        look(cluster, min_days=30)


@pytest.mark.usefixtures("served")
def test_other_roots_fail(cluster: Any, client_authority: Any) -> None:
    with pytest.raises(TlsError, match="CERTIFICATE_VERIFY_FAILED"):
        look(cluster, roots=client_authority.root.read_text())


@pytest.mark.usefixtures("served")
def test_a_name_that_the_certificate_lacks_fails_against_the_roots(cluster: Any, server_authority: Any) -> None:
    roots = server_authority.root.read_text()
    with pytest.raises(TlsError, match=r"[Hh]ostname mismatch"):
        look(cluster, name="db9.example.com", roots=roots)
    assert look(cluster, name="one.db.example.com", roots=roots)


@pytest.mark.usefixtures("served")
def test_a_name_that_cannot_be_asked_for_is_refused_and_leaves_no_connection_open(cluster: Any) -> None:
    with pytest.raises(TlsError, match="the TLS handshake failed"):
        look(cluster, name="a" * 300)
    gc.collect()  # a connection that is left open is a warning, which is a failure


def test_roots_that_are_no_certificates_are_refused_before_connecting() -> None:
    with pytest.raises(TlsError, match="roots: expected PEM certificates, found 7 characters"):
        probe(wire.Endpoint("no-such-host.invalid", 1), Wanted(roots="nothing"), 0)


def test_a_server_without_tls_is_named(cluster: Any) -> None:
    with pytest.raises(TlsError, match="the server answers, but offers no TLS"):
        look(cluster)


def test_a_server_that_is_down_is_named(cluster: Any) -> None:
    cluster.stop()
    with pytest.raises(TlsError, match=rf"localhost:{cluster.port}: no TCP connection"):
        look(cluster)


def test_the_files_of_those_who_fail_after_a_change_of_root_are_named(
    cluster: Any, client_authority: Any, tmp_path: Path
) -> None:
    """The judge is libpq: what the rows say is what psql does."""
    generations = [Generation.made(number, start=TODAY - 10 * DAY) for number in (1, 2)]
    g1, g2 = generations
    contents = {"old": [g1.root], "new": [g2.root], "both": [g1.root, g2.root], "pinned": [g1.issuing]}
    files = {name: tmp_path / f"{name}.crt" for name in contents}
    for name, roots in contents.items():
        files[name].write_bytes(b"".join(pem(one.certificate) for one in roots))
    cluster.hba("hostssl all all 127.0.0.1/32 trust")
    failing = {}
    for number, generation in enumerate(generations):
        generation.serve(cluster, client_authority.root, start=TODAY - DAY, days=100)
        wanted = ["localhost", "orders.provider.example", "alias.example"]
        with pytest.raises(TlsError, match=r"lacks the names alias\.example") as caught:
            look(cluster, names=wanted, trust_files=[str(path) for path in files.values()])
        assert caught.value.details["root"] == f"CN=Provider Root G{number + 1}"
        rows = {Path(one["file"]).stem: one for one in caught.value.details["trust"]}
        for name, row in rows.items():
            full = {one: psql(cluster, files[name], one) for one in wanted}
            assert {one: not problem for one, problem in row["verify_full"].items()} == full, name
            assert (row["verify_ca"] == "") == psql(cluster, files[name], "alias.example", "verify-ca"), name
        failing[number] = {name for name, row in rows.items() if row["verify_ca"]}
        assert all("name_missing" in row["findings"] for name, row in rows.items() if name not in failing[number])
    assert failing == {0: {"new", "pinned"}, 1: {"old", "pinned"}}


def psql(cluster: Any, roots: Path, host: str, sslmode: str = "verify-full") -> bool:
    """Return whether psql gets in by a name."""
    settings = f"host={host} hostaddr=127.0.0.1 port={cluster.port} dbname=postgres user=postgres"
    argv = [str(cluster.programs / "psql"), f"{settings} sslmode={sslmode} sslrootcert={roots}", "-Atc", "SELECT 1"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "certificate" in done.stderr, done.stderr
    return done.returncode == 0


def test_a_file_of_roots_that_is_missing_is_refused_before_connecting() -> None:
    with pytest.raises(TlsError, match=r"trust_files: /nowhere/root\.crt does not exist on this host"):
        probe(wire.Endpoint("no-such-host.invalid", 1), Wanted(trust_files=["/nowhere/root.crt"]), 0)


@pytest.mark.usefixtures("served")
def test_direct_tls_works_from_17_on_and_is_refused_before(cluster: Any) -> None:
    if int(cluster.psql("SHOW server_version_num")) >= 170000:
        assert look(cluster, direct=True)["chain"][0]["subject"] == "probed"
    else:
        with pytest.raises(TlsError, match="the TLS handshake failed"):
            look(cluster, direct=True)


@pytest.mark.usefixtures("served")
def test_a_probe_leaves_no_complaint_in_the_log(cluster: Any) -> None:
    before = len(cluster.log())
    look(cluster)
    cluster.psql("SELECT 1")
    lines = [line for line in cluster.log()[before:].splitlines() if "connection" not in line]
    assert lines == []
