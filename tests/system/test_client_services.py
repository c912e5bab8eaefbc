# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates for services that are not PostgreSQL, in the homes of real OS users."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.client import removal
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests.clients import (
    OTHER,
    Clients,
    User,
    chains,
    new_key,
    sign,
    snapshot,
    used,
)
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY, lists
from ansible_collections.pgops.tls.tests.shared import DAY
from cryptography import x509

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make OS users")
NAMES = ["app1.example.com", "*.metrics.example.com", "192.0.2.10"]


@pytest.fixture
def service(clients: Clients, alice: User) -> dict[str, Any]:
    """Return the identity of a service, the only one of its host."""
    own = {"name": "exporter", "os_user": alice.name, "names": NAMES}
    clients.options.update(identities=[own], server_issuing=AUTHORITIES["server"].issuing.pem)
    return own


def current(user: User, path: str) -> Path:
    return user.store / "current" / path


def leaf(user: User, name: str = "exporter") -> certificate.Certificate:
    return certificate.read_pem(current(user, f"{name}/postgresql.crt").read_text(), name)[0]


def openssl(*argv: object) -> str:
    done = subprocess.run(["openssl", *map(str, argv)], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


# Servers' certificates


@pytest.mark.usefixtures("service")
def test_a_service_gets_a_certificate_of_the_server_authority_for_its_names(clients: Clients, alice: User) -> None:
    first = clients.call()
    [request] = first["requests"]
    assert (request["id"], request["role"]) == (f"{alice.name}/exporter", "")
    assert request["names"] == NAMES
    done = clients.call(certificates=chains(first))
    assert done["identities"][0]["names"] == NAMES
    root, chain = current(alice, "root.crt"), current(alice, "exporter/postgresql.crt")
    verify = ("verify", "-x509_strict", "-CAfile", root, "-untrusted", chain)
    assert openssl(*verify, "-purpose", "sslserver", "-verify_hostname", NAMES[0], chain).endswith(": OK\n")
    assert openssl(*verify, "-purpose", "sslserver", "-verify_ip", NAMES[2], chain).endswith(": OK\n")
    assert "mismatch" in openssl(*verify, "-verify_hostname", "app2.example.com", chain)
    assert "unsuitable certificate purpose" in openssl(*verify, "-purpose", "sslclient", chain)
    assert stat.S_IMODE(current(alice, "exporter/postgresql.key").stat().st_mode) == 0o600
    before = snapshot(alice.home)
    assert clients.call()["changed"] is False
    assert snapshot(alice.home) == before


def test_nothing_of_it_is_for_libpq(clients: Clients, service: dict[str, Any], alice: User) -> None:
    alice.write(".pgpass", "elsewhere.example.com:5432:*:*:secret", 0o600)
    client = {"role": "backup1", "os_user": alice.name, "login": "none"}
    done = clients.converge(identities=[service, client], known_servers=["db1"])
    assert [path.name for path in alice.default.iterdir()] == ["pgops"]
    assert not alice.service_file.exists()
    assert not any("pg_service.conf" in change or "link to" in change for change in done["changes"])
    assert leaf(alice, "backup1").common_name == "backup1"
    assert leaf(alice, "backup1").extended_key_usage == (certificate.CLIENT_AUTH,)


def test_who_logs_in_beside_it_has_the_default_files_and_the_services(
    clients: Clients, service: dict[str, Any], alice: User
) -> None:
    login = {"role": "app", "os_user": alice.name, "databases": ["shop"]}
    clients.converge(identities=[service, login])
    assert (alice.default / "postgresql.crt").read_text() == current(alice, "app/postgresql.crt").read_text()
    assert "[app]" in alice.service_file.read_text()
    assert "exporter" not in alice.service_file.read_text()
    done = clients.converge(identities=[service])
    assert f"{alice.service_file}: the services of this collection are removed" in done["changes"]
    assert "app" not in alice.service_file.read_text()
    assert not (alice.default / "postgresql.crt").is_symlink()
    assert clients.call(identities=[service])["changed"] is False


def test_other_names_are_a_reason_for_a_new_certificate(clients: Clients, service: dict[str, Any], alice: User) -> None:
    clients.converge()
    other = {**service, "names": [NAMES[0], "app2.example.com"]}
    done = clients.converge(identities=[other])
    assert sorted(one.partition(": ")[2] for one in done["reasons"]) == [
        "san_missing: app2.example.com", f"san_not_wanted: {NAMES[1]}", f"san_not_wanted: {NAMES[2]}",
    ]  # fmt: skip
    assert [name.value for name in leaf(alice).names] == other["names"]


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize(
    ("authority", "purpose"), [("client", certificate.SERVER_AUTH), ("server", certificate.CLIENT_AUTH)]
)
def test_a_certificate_of_another_kind_is_refused(clients: Clients, alice: User, authority: str, purpose: str) -> None:
    [request] = clients.call()["requests"]
    key = x509.load_pem_x509_csr(request["csr"].encode()).public_key()
    before = used(alice)
    wrong = sign(key, "x", authority=AUTHORITIES[authority], purpose=purpose, names=NAMES)
    with pytest.raises(TlsError, match=f"certificates: {alice.name}/exporter"):
        clients.call(certificates={request["id"]: wrong})
    assert used(alice) == before


@pytest.mark.usefixtures("service")
def test_a_revoked_one_is_replaced_with_a_new_key(clients: Clients, alice: User) -> None:
    clients.converge()
    key = current(alice, "exporter/postgresql.key").read_bytes()
    done = clients.converge(server_revoked=[f"{leaf(alice).serial:x}"])
    assert done["reasons"] == [f"{alice.name}/exporter: revoked"]
    assert current(alice, "exporter/postgresql.key").read_bytes() != key


# What the service trusts


def test_the_clients_of_a_service_are_those_of_its_authority(
    clients: Clients, service: dict[str, Any], alice: User
) -> None:
    own = {**service, "trusts_clients": True}
    clients.converge(identities=[own])
    path = current(alice, "exporter/trusted-clients.crt")
    assert path.read_text() == clients.options["trusted_clients"]
    before, key = leaf(alice).serial, snapshot(alice.home)
    more = clients.options["trusted_clients"] + OTHER.root.pem
    done = clients.call(identities=[own], trusted_clients=more)
    assert (done["changed"], done["reasons"]) == (True, [])
    assert f"trusted-clients.crt: holds {AUTHORITIES['client'].issuing.common_name!r}" in done["changes"][0]
    assert path.read_text() == more
    assert leaf(alice).serial == before
    assert snapshot(alice.home) != key
    done = clients.call(identities=[service], trusted_clients=more)
    assert done["changes"] == [f"{alice.name}/exporter: trusted-clients.crt: removed"]
    assert not path.exists()


def test_revoked_clients_are_in_a_list_beside_it_and_none_is_forgotten(
    clients: Clients, service: dict[str, Any], alice: User
) -> None:
    clients.options.update(identities=[{**service, "trusts_clients": True}])
    clients.converge()
    first = f"# what people write: größer\n{lists('client', 4711)}"
    done = clients.call(trusted_clients_crls=first)
    assert done["changes"] == [f"{alice.name}/exporter: trusted-clients.crl: new"]
    path = current(alice, "exporter/trusted-clients.crl")
    assert path.read_text() == first.replace("öß", "??")
    for older in (lists("client"), ""):
        with pytest.raises(
            TlsError, match="trusted_clients_crls: the lists of revoked certificates in use revoke 1267"
        ):
            clients.call(trusted_clients_crls=older)
    with pytest.raises(TlsError, match=r"trusted_clients_crls: .*is valid from"):
        clients.call(trusted_clients_crls=lists("client", 4711, 4712, start=TODAY - 100 * DAY))
    assert path.read_text() == first.replace("öß", "??")


# Formats


def test_a_bundle_has_the_key_and_the_chain_and_changes_with_them(
    clients: Clients, service: dict[str, Any], alice: User
) -> None:
    own = {**service, "formats": ["pem", "bundle"]}
    clients.converge(identities=[own])
    path = current(alice, "exporter/bundle.pem")

    def parts() -> str:
        return "".join(current(alice, f"exporter/postgresql.{end}").read_text() for end in ("key", "crt"))

    assert path.read_text() == parts()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_text()
    clients.converge(identities=[own], new_keys=True)
    assert before != path.read_text() == parts()
    done = clients.call(identities=[service])
    assert done["changes"] == [f"{alice.name}/exporter: bundle.pem: removed"]
    assert not path.exists()
    done = clients.call(identities=[own])
    assert (done["changes"], done["requests"]) == ([f"{alice.name}/exporter: bundle.pem: new"], [])
    assert path.read_text() == parts()


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(new_key()), lambda path: path.chmod(0o644)])
def test_a_damaged_bundle_is_written_again(clients: Clients, service: dict[str, Any], alice: User, damage: Any) -> None:
    clients.options.update(identities=[{**service, "formats": ["bundle"]}])
    clients.converge()
    before = used(alice)
    damage(current(alice, "exporter/bundle.pem").resolve())
    assert clients.call(check_mode=True)["changed"]
    assert clients.call()["changed"]
    assert used(alice) == before
    assert clients.call()["changed"] is False


def test_no_key_of_a_bundle_is_in_any_result(clients: Clients, service: dict[str, Any], alice: User) -> None:
    clients.options.update(identities=[{**service, "formats": ["bundle"]}])
    results = [clients.converge(), clients.converge(renew=True), clients.call(renew=True, check_mode=True)]
    key = current(alice, "exporter/postgresql.key").read_text().splitlines()[1]
    assert all(key not in str(one) and "PRIVATE" not in str(one) for one in results)


# Ways back


def test_a_roll_back_brings_back_certificate_bundle_and_key(
    clients: Clients, service: dict[str, Any], alice: User
) -> None:
    clients.options.update(identities=[{**service, "formats": ["bundle"], "trusts_clients": True}])
    clients.converge()
    before = used(alice)
    clients.converge(new_keys=True)
    assert used(alice) != before
    done = clients.roll_back()
    assert f"{alice.name}/exporter: certificate with serial" in done["changes"][1]
    assert {path: one for path, one in used(alice).items() if "rolled-back" not in path} == before
    assert clients.call()["changed"] is False


def test_a_removal_leaves_nothing(clients: Clients, service: dict[str, Any], alice: User) -> None:
    before = sorted(map(str, alice.home.rglob("*")))
    clients.converge(identities=[{**service, "formats": ["bundle"], "trusts_clients": True}])
    clients.call(kind=removal.Removal)
    assert [path for path in map(str, sorted(alice.home.rglob("*"))) if not path.endswith(".postgresql")] == before


# Input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"role": "app"}, r"identities\[0\]: found role 'app' and names\. .* Make it two identities"),
        ({"name": ""}, r"identities\[0\]\.name: found nothing, expected a name for the directory"),
        ({"names": []}, r"identities\[0\]\.names: no names were given"),
        ({"names": ["-"]}, r"identities\[0\]\.names: '-' is neither a DNS name nor an IP address"),
        ({"databases": ["shop"]}, r"identities\[0\]: found names and databases"),
        ({"login": "password"}, r"identities\[0\]: found names and login"),
        ({"default_files": True}, r"identities\[0\]: found names and default_files"),
        (
            {"formats": ["jks"]},
            r"identities\[0\]\.formats: found 'jks', expected some of pem, bundle, pk8",
        ),
        ({"formats": "bundle"}, r"identities\[0\]\.formats: found 'bundle', expected some of"),
    ],
)
def test_a_service_that_cannot_be_is_refused_before_anything_changes(
    clients: Clients, service: dict[str, Any], alice: User, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(TlsError, match=message):
        clients.call(identities=[{**service, **change}])
    assert list(alice.home.iterdir()) == []


@pytest.mark.usefixtures("service")
def test_without_the_authority_of_servers_nothing_is_requested(clients: Clients, alice: User) -> None:
    with pytest.raises(TlsError, match=f"server_issuing: expected the auth.* but {alice.name}/exporter has names"):
        clients.call(server_issuing="")
    assert list(alice.home.iterdir()) == []


def test_an_identity_with_a_password_has_nothing_to_bundle(clients: Clients, alice: User) -> None:
    own = {"role": "app", "os_user": alice.name, "login": "password", "formats": ["bundle"]}
    with pytest.raises(TlsError, match=r"formats: found bundle for an identity with a password, which has no key"):
        clients.call(identities=[own])
