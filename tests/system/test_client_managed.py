# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients of servers outside the inventory: their roots, and a provider that changes its own. The judge is psql."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.client import removal
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.tests import faults
from ansible_collections.pgops.tls.tests.clients import Clients, User, identity, snapshot, used
from ansible_collections.pgops.tls.tests.providers import Authority, Generation, pem
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY, lists
from ansible_collections.pgops.tls.tests.shared import DAY, STEP
from cryptography.hazmat.primitives.serialization import pkcs12

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make OS users")
G1, G2 = (Generation.made(number, start=TODAY - 10 * DAY) for number in (1, 2))


class Provider:
    """The provider's server, and what is declared for alice's identity at it."""

    def __init__(self, cluster: Any, clients: Clients, user: User, accepted: Path) -> None:
        self.cluster, self.clients, self.user, self.accepted = cluster, clients, user, accepted
        cluster.hba("hostssl all all 127.0.0.1/32 trust", "hostssl all all ::1/128 trust")
        self.show(G1)
        clients.options["identities"] = [self.identity()]

    def show(self, generation: Generation, **life: Any) -> None:
        generation.serve(self.cluster, self.accepted, start=TODAY - DAY, **{"days": 100, **life})

    def identity(self, **more: Any) -> dict[str, Any]:
        endpoint = {"server": "localhost", "host": "localhost", "port": self.cluster.port}
        own = identity(self.user, "postgres", "postgres")
        return {**own, "name": "orders", "login": "password", "endpoints": [endpoint], **more}

    def trust(self, *roots: Authority) -> dict[str, Any]:
        return {"trust": {f"{self.user.name}/orders": "".join(one.pem for one in roots)}}

    def call(self, *roots: Authority, **options: Any) -> dict[str, Any]:
        return self.clients.converge(**self.trust(*roots), **options)

    def findings(self, *roots: Authority, **options: Any) -> Sequence[str]:
        [row] = self.call(*roots, check_mode=True, **options)["endpoints"]
        return list(row["findings"])

    @property
    def file(self) -> Path:
        return self.user.store / "current" / "orders" / "root.crt"

    def gets_in(self) -> bool:
        return self.psql().returncode == 0

    def psql(self) -> subprocess.CompletedProcess[str]:
        programs = str(self.cluster.programs / "psql")
        return self.user.run(programs, "service=orders@localhost", "-Atc", "SELECT ssl FROM pg_stat_ssl LIMIT 1")


@pytest.fixture
def provider(cluster: Any, clients: Clients, alice: User, client_authority: Any) -> Provider:
    return Provider(cluster, clients, alice, client_authority.root)


def test_a_change_of_root_is_survived_by_those_who_have_both_and_the_others_are_named(provider: Provider) -> None:
    first = provider.call(G1.root, G2.root)
    assert (
        f"{provider.user.name}/orders: root.crt: 2 roots, with 'Provider Root G1', 'Provider Root G2'"
        in first["changes"]
    )
    assert (first["requests"], first["identities"]) == ([], [])
    assert provider.file.read_bytes() == pem(G1.root.certificate) + pem(G2.root.certificate)
    assert list(provider.user.default.glob("root.*")) == [], "libpq's default names stay free"
    before = snapshot(provider.user.home)
    again = provider.call(G1.root, G2.root)
    assert (again["changed"], again["changes"]) == (False, [])
    assert snapshot(provider.user.home) == before
    assert provider.gets_in()
    provider.show(G2)
    [row] = provider.call(G1.root, G2.root)["endpoints"]
    assert (row["root"], row["findings"], row["problem"]) == ("CN=Provider Root G2", [], "")
    assert provider.gets_in()


def test_who_has_the_old_root_alone_is_warned_before_and_named_after(provider: Provider) -> None:
    assert provider.findings(G1.root) == ["only_root"]
    provider.call(G1.root)
    provider.show(G2)
    assert provider.findings(G1.root) == ["root_missing"]
    assert not provider.gets_in()
    assert "certificate verify failed" in provider.psql().stderr
    assert provider.call(G2.root)["changed"], "what does not work is no reason to keep it"
    assert provider.gets_in()


def test_a_bundle_that_would_end_connections_is_refused_before_anything_changes(provider: Provider) -> None:
    provider.call(G1.root)
    before = snapshot(provider.user.home)
    for check_mode in (True, False):
        with pytest.raises(
            TlsError, match=r"shows a chain to the root CN=Provider Root G1\. The roots in use"
        ) as caught:
            provider.call(G2.root, check_mode=check_mode)
        assert caught.value.code == "trust_without_root"
    assert snapshot(provider.user.home) == before
    assert provider.gets_in()
    provider.cluster.stop()
    found = provider.call(G2.root)
    assert found["changed"]
    assert "no TCP connection" in found["endpoints"][0]["problem"]


@pytest.mark.parametrize("what", ["expired", "name"])
def test_what_else_is_wrong_with_an_endpoint_is_no_reason_to_fail(provider: Provider, what: str) -> None:
    if what == "expired":
        provider.show(G1, days=0.5)
    else:
        provider.show(G1, names=["elsewhere.example"])
    expected = {"expired": ["chain_refused", "certificate_ends_soon"], "name": ["name_missing"]}
    found = provider.call(G1.root, G2.root)
    assert found["endpoints"][0]["findings"] == expected[what]
    assert not provider.gets_in()


def test_beside_an_identity_of_the_inventory_each_has_its_own_roots(provider: Provider) -> None:
    """A list of revoked certificates at libpq's default name has nothing to say about the provider."""
    crl = lists("server", 1)
    own = identity(provider.user, "app", "shop")
    both = [own, provider.identity(formats=["truststore"])]
    provider.call(G1.root, G2.root, identities=both, crls=crl)
    assert (provider.user.default / "root.crt").read_text() == AUTHORITIES["server"].root.pem
    assert (provider.user.default / "root.crl").exists()
    assert provider.gets_in()
    opened = pkcs12.load_pkcs12((provider.file.parent / "truststore.p12").read_bytes(), None)
    assert {one.certificate for one in opened.additional_certs} == {G1.root.certificate, G2.root.certificate}
    assert not (provider.user.store / "current" / "truststore.p12").exists()
    before = snapshot(provider.user.home)
    assert not provider.call(G1.root, G2.root, identities=both, crls=crl)["changed"]
    assert snapshot(provider.user.home) == before
    changed = provider.call(G1.root, identities=both, crls=crl)["changes"]
    name = provider.user.name
    assert changed == [
        f"{name}/orders: root.crt: 1 roots, without 'Provider Root G2'", f"{name}/orders: truststore.p12: changed",
    ]  # fmt: skip


def test_an_identity_moves_from_a_certificate_to_a_provider_and_back(provider: Provider) -> None:
    ours = {**identity(provider.user, "postgres", "postgres"), "name": "orders"}
    provider.clients.converge(identities=[ours])
    moved = provider.call(G1.root, G2.root)["changes"]
    assert f"{provider.user.name}/orders: logs in by password, its key and certificate are removed" in moved
    assert sorted(path.name for path in provider.file.parent.iterdir()) == ["root.crt"]
    assert provider.gets_in()
    back = provider.clients.converge(identities=[ours])["changes"]
    assert any("new certificate (no_certificate)" in one for one in back)
    assert sorted(path.name for path in provider.file.parent.iterdir()) == ["postgresql.crt", "postgresql.key"]


def test_roll_back_brings_the_former_roots_unless_the_provider_has_left_them(provider: Provider) -> None:
    provider.call(G1.root)
    provider.call(G1.root, G2.root)
    declared = provider.trust(G1.root, G2.root)
    provider.show(G2)
    with pytest.raises(TlsError, match="shows a chain to the root CN=Provider Root G2"):
        provider.clients.roll_back(**declared)
    provider.show(G1)
    found = provider.clients.roll_back(**declared)
    assert provider.file.read_bytes() == pem(G1.root.certificate)
    assert any("with 'Provider Root G2'" in one for one in found["next_run"])
    assert provider.gets_in()
    assert provider.call(G1.root, G2.root)["changed"]


def test_a_hook_runs_when_the_roots_of_its_identity_change_and_not_otherwise(
    provider: Provider, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    hook = {"command": ["/bin/sh", "-c", f"echo ran >> {log}"], "as_root": True}
    both = [identity(provider.user, "app", "shop"), provider.identity(after_change=hook)]
    provider.call(G1.root, identities=both)
    provider.call(G1.root, identities=both)
    provider.call(G1.root, identities=both, roots=AUTHORITIES["server"].root.pem + G2.root.pem)
    assert log.read_text().count("ran") == 1, "the roots of the other servers are not its own"
    provider.call(G1.root, G2.root, identities=both)
    assert log.read_text().count("ran") == 2


def test_removal_takes_everything_away(provider: Provider) -> None:
    before = faults.everything(provider.user.home)
    provider.call(G1.root)
    provider.clients.call(kind=removal.Removal, state="absent")
    left = {path for path in faults.everything(provider.user.home) if path not in before}
    assert not any("pgops" in str(path) for path in left), left


def test_wherever_a_change_of_roots_dies_or_fails_a_whole_file_is_in_use(clients: Clients, alice: User) -> None:
    own = {**identity(alice, "orders"), "login": "password", "formats": ["truststore"]}
    old, new = ({f"{alice.name}/orders": root.pem} for root in (G1.root, G2.root))
    clients.options["identities"] = [own]
    clients.call(trust=old)
    start, before = faults.everything(alice.home), used(alice)
    for number in faults.deaths(lambda: clients.call(trust=new), STEP):
        assert (alice.store / "current/orders/root.crt").read_text() in (G1.root.pem, G2.root.pem), number
        clients.call(trust=new)
        assert (alice.store / "current/orders/root.crt").read_text() == G2.root.pem
        faults.put_back(alice.home, start)
    for number in itertools.count():
        with faults.failing(number) as injection:
            try:
                clients.call(trust=new)
            except TlsError:
                assert used(alice) == before, number
        if not injection:
            break
        faults.put_back(alice.home, start)


@pytest.mark.parametrize(
    ("trust", "more", "message"),
    [
        ({"nobody/x": G1.root.pem}, {}, "trust: 'nobody/x' is not an identity"),
        (None, {"login": "certificate"}, "has a certificate, which servers outside the inventory do not know"),
        ("", {}, "expected PEM certificates, found nothing"),
        (G1.issuing.pem, {}, "expected at least one self-signed root that is valid now"),
        ("-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n", {}, "found a private key"),
    ],
)
def test_bad_input_is_refused_before_anything_changes(
    provider: Provider, trust: Any, more: dict[str, Any], message: str
) -> None:
    own = f"{provider.user.name}/orders"
    given = trust if isinstance(trust, dict) else {own: G1.root.pem if trust is None else trust}
    before = snapshot(provider.user.home)
    with pytest.raises(TlsError, match=message):
        provider.clients.call(trust=given, identities=[provider.identity(**more)])
    assert snapshot(provider.user.home) == before
