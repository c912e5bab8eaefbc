# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers whose certificates come from OpenBao, or from people who sign by hand: from nothing to verified."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests import baos
from ansible_collections.pgops.tls.tests.endings import as_line, well
from ansible_collections.pgops.tls.tests.openssl_ca import Company
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH, RECAP


@pytest.fixture(scope="module")
def site(site_on: Callable[[Any], Any], shared_cluster: Any) -> Any:
    """Give a site with a server that has a role app."""
    shared_cluster.psql("CREATE ROLE app LOGIN")
    return site_on(shared_cluster)


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[baos.Bao]:
    """Run OpenBao with a CA below the root of another mount."""
    with baos.with_pki(tmp_path_factory.mktemp("bao")) as found:
        yield found


def served(site: Any) -> certificate.Certificate:
    path = site.cluster.home / "tls" / "current" / "server.crt"
    return certificate.read_pem(path.read_text(), str(path))[0]


def changed(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    return {host: int(number) for host, number, _unreachable, _failed in RECAP.findall(done.stdout)}


def connects(site: Any) -> bool:
    return bool(site.connect(0, f"host=localhost port={site.cluster.port} user=app dbname=postgres").returncode == 0)


def test_from_nothing_to_verified_by_openbao(site: Any, bao: baos.Bao) -> None:
    token = bao.token()
    source = bao.declared("server", "below", token=token)
    first = site.run("-vvvv", postgres_ca_sources={"server": source})
    assert well(first), first.stdout[-4000:]
    assert token not in first.stdout + first.stderr
    assert served(site).issuer_common_name == "below Issuing"
    assert connects(site)
    second = site.run(postgres_ca_sources={"server": source})
    assert well(second), second.stdout[-4000:]
    assert set(changed(second).values()) == {0}


def test_a_renewal_gets_another_certificate(site: Any, bao: baos.Bao) -> None:
    before = served(site).serial
    source = bao.declared("server", "below")
    done = site.run(postgres_ca_sources={"server": source}, postgres_server_renew=True)
    assert well(done), done.stdout[-4000:]
    assert served(site).serial != before
    assert connects(site)


@ONLY_THOROUGH
def test_a_token_that_has_expired_stops_only_who_needs_a_certificate(site: Any, bao: baos.Bao) -> None:
    token = bao.token()
    bao.write("auth/token/revoke", token=token)
    source, before = bao.declared("server", "below", token=token), served(site).serial
    quiet = site.run(postgres_ca_sources={"server": source})
    assert well(quiet), quiet.stdout[-4000:]
    done = site.run("-vvvv", postgres_ca_sources={"server": source}, postgres_server_renew=True)
    assert done.returncode != 0
    assert "refuses the token" in as_line(done)
    assert token not in done.stdout + done.stderr
    assert served(site).serial == before
    assert connects(site)


def sealed(bao: baos.Bao) -> dict[str, Any]:
    source = bao.declared("server", "below")
    bao.write("sys/seal")
    return source


def expired(bao: baos.Bao) -> dict[str, Any]:
    source = bao.declared("server", "below", token=bao.token("1s"))
    time.sleep(1.5)
    return source


def of_a_strict_role(bao: baos.Bao) -> dict[str, Any]:
    bao.role("below", "strict", allow_ip_sans=False)
    return bao.declared("strict", "below")


WRONG: dict[str, tuple[Callable[[baos.Bao], dict[str, Any]], str]] = {
    "sealed": (sealed, "is sealed, or not ready"),
    "expired token": (expired, "refuses the token"),
    "strict role": (of_a_strict_role, "refuses it: "),
    "mount gone": (lambda bao: bao.declared("server", "gone"), "there is nothing at "),
}


@ONLY_THOROUGH
@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_with_openbao_is_said_changes_nothing_and_shows_no_token(
    site: Any, bao: baos.Bao, kind: str
) -> None:
    make, message = WRONG[kind]
    before = served(site).serial
    source = make(bao)
    try:
        done = site.run("-vvvv", postgres_ca_sources={"server": source}, postgres_server_renew=True)
    finally:
        bao.call("POST", "sys/unseal", key=bao.unseal_key)
    assert done.returncode != 0
    assert message in as_line(done)
    assert source["token"] not in done.stdout + done.stderr
    assert served(site).serial == before
    assert connects(site)


@ONLY_THOROUGH
def test_a_life_that_the_role_cuts_to_a_day_is_told_and_needs_no_other_certificate(site: Any, bao: baos.Bao) -> None:
    bao.role("below", "daily", max_ttl="24h")
    source = bao.declared("daily", "below")
    done = site.run("-vvvv", postgres_ca_sources={"server": source}, postgres_server_renew=True)
    assert well(done), done.stdout[-4000:]
    assert "Role daily of postgres_ca_sources.server cut the lifetime of new certificates" in as_line(done)
    assert source["token"] not in done.stdout + done.stderr
    assert served(site).not_after - served(site).not_before <= 86_400 + 60
    second = site.run(postgres_ca_sources={"server": source})
    assert well(second), second.stdout[-4000:]
    assert set(changed(second).values()) == {0}


def test_bad_sources_stop_the_run_before_anything(site: Any) -> None:
    before = site.files()
    source = {"type": "openbao", "url": "https://127.0.0.1:1", "token": "hvs.never-to-be-seen"}
    done = site.run("-vvvv", postgres_ca_sources={"server": source})
    assert done.returncode != 0
    assert "postgres_ca_sources.server.role: found nothing" in as_line(done)
    assert "hvs.never-to-be-seen" not in done.stdout + done.stderr
    assert site.files() == before


# By hand


@pytest.fixture(scope="module")
def by_hand(site_on: Callable[[Any], Any], billing: Any) -> Any:
    """Give another site, whose server has never had a certificate."""
    billing.psql("CREATE ROLE app LOGIN")
    found = site_on(billing)
    found.company = Company(found.directory / "company")
    return found


def sources(site: Any) -> dict[str, Any]:
    root, folder = site.company.folder / "root.pem", site.directory / "requests"
    return {"server": {"type": "files", "directory": str(folder), "roots": str(root)}}


def test_a_server_without_any_certificate_waits_unchanged(by_hand: Any) -> None:
    configuration = by_hand.cluster.data / "pg_hba.conf"
    before = configuration.read_text()
    done = by_hand.run(postgres_ca_sources=sources(by_hand))
    assert well(done), done.stdout[-4000:]
    request = by_hand.directory / "requests" / "db1.csr"
    said = as_line(done)
    assert "Certificates that wait to be signed: 1. Their hosts go on as they are." in said
    assert f"db1: {request} waits for its certificate (it has none yet)." in said
    assert "each one needs a certificate that comes in a later run" in said
    assert configuration.read_text() == before
    assert not (by_hand.cluster.home / "tls" / "current").exists()
    listed = (request.parent / "requests.txt").read_text()
    assert "db1.csr: server localhost, 127.0.0.1; serverAuth; P-256; now (no_certificate)" in listed


def test_a_wrong_answer_fails_its_host_alone(by_hand: Any, tmp_path: Path) -> None:
    request = by_hand.directory / "requests" / "db1.csr"
    extensions = tmp_path / "wrong.conf"
    extensions.write_text(
        "basicConstraints = CA:false\nsubjectAltName = DNS:other.example\nextendedKeyUsage = serverAuth\n"
    )
    by_hand.company.sign(request, "-extfile", str(extensions))
    done = by_hand.run(postgres_ca_sources=sources(by_hand))
    assert done.returncode != 0
    assert "db1.pem: not as requested: san_missing: localhost; san_missing: 127.0.0.1." in as_line(done)
    assert request.exists()
    assert not (by_hand.cluster.home / "tls" / "current").exists()


def test_the_next_run_takes_what_came(by_hand: Any) -> None:
    by_hand.company.sign(by_hand.directory / "requests" / "db1.csr")
    foreseen = by_hand.run("--check", postgres_ca_sources=sources(by_hand))
    assert well(foreseen), foreseen.stdout[-4000:]
    assert "wait to be signed" not in as_line(foreseen)
    done = by_hand.run(postgres_ca_sources=sources(by_hand))
    assert well(done), done.stdout[-4000:]
    assert "wait to be signed" not in as_line(done)
    assert served(by_hand).issuer_common_name == "Company Issuing"
    assert connects(by_hand)
    second = by_hand.run(postgres_ca_sources=sources(by_hand))
    assert well(second), second.stdout[-4000:]
    assert set(changed(second).values()) == {0}


@ONLY_THOROUGH
def test_a_renewal_waits_and_the_old_certificate_stays(by_hand: Any) -> None:
    before = served(by_hand).serial
    for order in ({"postgres_server_renew": True}, {}, {}):
        done = by_hand.run(postgres_ca_sources=sources(by_hand), **order)
        assert well(done), done.stdout[-4000:]
        assert "db1.csr waits for its certificate (needed by 20" in as_line(done)
        assert set(changed(done).values()) == {0}
        assert served(by_hand).serial == before
        assert connects(by_hand)
    by_hand.company.sign(by_hand.directory / "requests" / "db1.csr")
    done = by_hand.run(postgres_ca_sources=sources(by_hand))
    assert well(done), done.stdout[-4000:]
    assert served(by_hand).serial != before
    assert connects(by_hand)


@ONLY_THOROUGH
def test_certificates_in_the_companys_own_style_from_another_ca_each_time_are_left_alone_between(
    by_hand: Any, tmp_path: Path
) -> None:
    extensions = tmp_path / "style.conf"
    names = "DNS:localhost, IP:127.0.0.1, DNS:db1.example, DNS:shop.example"
    usages = "extendedKeyUsage = serverAuth, clientAuth"
    extensions.write_text(f"basicConstraints = CA:false\nsubjectAltName = {names}\n{usages}\n")
    for name in ("Company Issuing", "Company Issuing 2"):
        by_hand.company.issue_by(name)
        well(by_hand.run(postgres_ca_sources=sources(by_hand), postgres_server_renew=True))
        by_hand.company.sign(by_hand.directory / "requests" / "db1.csr", "-extfile", str(extensions))
        well(by_hand.run(postgres_ca_sources=sources(by_hand)))
        assert (served(by_hand).issuer_common_name, len(served(by_hand).names)) == (name, 4)
        assert connects(by_hand)
        between = by_hand.run(postgres_ca_sources=sources(by_hand))
        assert well(between), between.stdout[-4000:]
        assert set(changed(between).values()) == {0}
