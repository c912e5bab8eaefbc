# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients that check whether servers' certificates are revoked, and those whose own certificate is."""

from __future__ import annotations

import os
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.client import convergence, removal, target
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests.clients import Clients, User, chains, used
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY, Server, lists
from ansible_collections.pgops.tls.tests.shared import DAY

VERIFY_FAILED = "SSL error: certificate verify failed\n"  # libpq says no more
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make OS users")


class Host:
    """A client host of a managed server: OS user alice logs in as role app."""

    def __init__(self, clients: Clients, server: Server, user: User) -> None:
        self.clients, self.server, self.user = clients, server, user
        trusted = AUTHORITIES["client"]
        clients.options.update(
            identities=[{"role": "app", "os_user": user.name, "databases": ["postgres"]}],
            roots=AUTHORITIES["server"].root.pem,
            issuing=trusted.issuing.pem,
            trusted_clients=trusted.issuing.pem + trusted.root.pem,
        )
        self.converge()

    def converge(self, **changes: Any) -> dict[str, Any]:
        first = self.clients.call(**changes)
        if not first["requests"]:
            return first
        return self.clients.call(certificates=chains(first, authority=AUTHORITIES["client"]), **changes)

    def revoke(self, *serials: int, **options: int) -> None:
        self.clients.options["crls"] = lists("server", *serials, **options)

    def log_in(self, parameters: str = "user=app dbname=postgres sslmode=verify-full") -> str:
        """Return what psql of the OS user says: the role, or why there is no connection."""
        where = f"host=localhost hostaddr=127.0.0.1 port={self.server.cluster.port}"
        psql = str(self.server.cluster.programs / "psql")
        done = self.user.run(psql, "-XAt", "-d", f"{where} {parameters}", "-c", "SELECT current_user")
        return done.stdout + done.stderr

    def serial_of_server(self) -> int:
        return certificate.read_pem(self.server.used()["server.crt"].decode(), "leaf")[0].serial


@pytest.fixture
def host(clients: Clients, managed: Server, alice: User) -> Host:
    """Return a host whose client gets in."""
    found = Host(clients, managed, alice)
    assert found.log_in() == "app\n"
    return found


def test_a_revoked_server_is_refused_by_default_files_and_by_service_and_another_is_not(host: Host) -> None:
    host.revoke(host.serial_of_server())
    foreseen = host.clients.call(check_mode=True)
    assert host.log_in() == "app\n"
    done = host.converge()
    assert done["changes"] == foreseen["changes"]
    assert f"{host.user.name}: root.crl: new" in done["changes"]
    assert done["reasons"] == []
    for parameters in ("user=app dbname=postgres sslmode=verify-full", "service=app"):
        assert VERIFY_FAILED in host.log_in(parameters)
    assert host.converge()["changes"] == []
    host.server.settle(renew=True)
    for parameters in ("user=app dbname=postgres sslmode=verify-full", "service=app"):
        assert host.log_in(parameters) == "app\n"


def test_as_long_as_nothing_is_revoked_there_is_no_list_and_no_service_names_one(host: Host) -> None:
    assert not os.path.lexists(host.user.default / "root.crl")
    assert "sslcrl" not in host.user.service_file.read_text()
    host.revoke()
    host.converge()
    assert f"sslcrl={host.user.store}/current/root.crl\n" in host.user.service_file.read_text()
    assert os.readlink(host.user.default / "root.crl") == "pgops/current/root.crl"


@pytest.mark.parametrize("lost", [".postgresql/root.crl", ".postgresql/pgops/current/root.crl"])
def test_a_list_that_got_lost_is_put_back_by_the_next_run(host: Host, lost: str) -> None:
    """To libpq a missing list is none: it says nothing, and connects to whom it would refuse."""
    host.revoke(host.serial_of_server())
    host.converge()
    before = used(host.user)
    (host.user.home / lost).unlink()
    assert host.log_in() == "app\n", "libpq fails open"
    assert host.converge()["changed"]
    assert VERIFY_FAILED in host.log_in()
    assert used(host.user) == before


def test_the_first_list_is_told_as_libpq_then_refuses_servers_whose_ca_has_none(
    clients: Clients, server: Server, alice: User, server_authority: Any, client_authority: Any
) -> None:
    server.cluster.hba("host all app all trust")
    server.cluster.serve(*server_authority.issue("own", "serverAuth", "DNS:localhost"), client_authority.root)
    host, root = Host(clients, server, alice), alice.home / "own.crt"
    root.write_text(server_authority.root.read_text())
    root.chmod(0o644)
    outside = f"user=app dbname=postgres sslmode=verify-full sslrootcert={root} sslcert=none"
    assert host.log_in(outside) == "app\n"
    host.revoke(7)
    wanted = target.read(clients.options, TODAY)
    first, done, again = (
        convergence.converge(wanted, TODAY, float(TODAY), check_mode=mode).warnings for mode in (True, False, False)
    )
    assert first == done
    assert [one.partition(" gets lists of revoked certificates at libpq's default name")[0] for one in first] == [
        f"{alice.default}/root.crl: OS user {alice.name!r}"
    ]
    assert again == []
    assert VERIFY_FAILED in host.log_in(outside), "what the warning says is true"
    assert host.log_in(f"{outside} sslcrl=/dev/null") == "app\n", "and what it advises helps"


def test_a_list_of_others_is_kept_beside_ours(host: Host) -> None:
    theirs = host.user.write(".postgresql/root.crl", "theirs")
    host.revoke(host.serial_of_server())
    done = host.converge()
    assert any("stays beside it as .before-pgops" in change for change in done["changes"])
    assert (host.user.default / "root.crl.before-pgops").read_text() == "theirs"
    assert theirs.is_symlink()
    assert VERIFY_FAILED in host.log_in()


def test_a_removal_takes_the_list_away_and_puts_that_of_others_back(host: Host) -> None:
    theirs = host.user.write(".postgresql/root.crl", "theirs")
    host.revoke()
    host.converge()
    host.clients.call(kind=removal.Removal)
    assert not theirs.is_symlink()
    assert theirs.read_text() == "theirs"
    assert not host.user.store.exists()


@pytest.mark.parametrize(
    ("crls", "message"),
    [
        (
            lists("server", start=TODAY - 91 * DAY),
            r"crls: the list .* is valid from .* every certificate would be refused",
        ),
        (lists("client"), r"crls: there is no list of revoked certificates of 'PostgreSQL server root CA"),
        ("nonsense", r"crls: expected lists of revoked certificates \(CRLs\) in PEM, found"),
    ],
)
def test_lists_that_would_keep_servers_out_stop_before_anything_changes(host: Host, crls: str, message: str) -> None:
    before = used(host.user)
    host.clients.options["crls"] = crls
    for check_mode in (True, False):
        with pytest.raises(TlsError, match=message):
            host.clients.call(check_mode=check_mode)
    assert used(host.user) == before
    assert host.log_in() == "app\n"


@pytest.mark.parametrize("crls", [lists("server"), lists("server", 1), ""])
def test_lists_that_revoke_less_than_those_in_use_stop_before_anything_changes(host: Host, crls: str) -> None:
    serial = host.serial_of_server()
    host.revoke(serial)
    host.converge()
    before = used(host.user)
    host.clients.options["crls"] = crls
    entry = rf'\{{serial: "{serial:x}", authority: server\}}'
    told = rf"crls: .* revoke {serial:x}, .*revoked of module certificate_authority: \[{entry}\]"
    for check_mode in (True, False):
        with pytest.raises(TlsError, match=told):
            host.clients.call(check_mode=check_mode)
    assert used(host.user) == before
    assert VERIFY_FAILED in host.log_in()


def test_a_directory_in_place_of_the_list_is_refused_only_when_there_is_one(host: Host) -> None:
    (host.user.default / "root.crl").mkdir()
    assert host.converge()["changes"] == []
    host.revoke()
    with pytest.raises(TlsError, match=r"root\.crl: expected a file or nothing, found a directory"):
        host.converge()


def test_an_identity_whose_certificate_is_revoked_gets_another_key_and_certificate(host: Host) -> None:
    (before,) = host.clients.call()["identities"]
    host.clients.options["revoked"] = [before["serial"]]
    first = host.clients.call()
    assert first["reasons"] == [f"{host.user.name}/app: revoked"]
    host.server.options["crls"] = lists("client", int(before["serial"], 16))
    host.server.settle()
    assert "certificate revoked" in host.log_in()
    key = (host.user.default / "postgresql.key").read_bytes()
    host.converge()
    assert (host.user.default / "postgresql.key").read_bytes() != key
    assert host.log_in() == "app\n"
    assert host.converge()["changes"] == []


def test_a_roll_back_keeps_the_list_of_today_and_leads_to_no_revoked_certificate(host: Host) -> None:
    host.converge(renew=True)
    (left,) = host.clients.call()["identities"]
    host.revoke(host.serial_of_server())
    host.converge(renew=True)
    with pytest.raises(TlsError, match=r"app/postgresql\.crt: its certificate, serial [0-9a-f]+, is revoked"):
        host.clients.roll_back(revoked=[left["serial"]])
    assert host.clients.roll_back()["changed"]
    assert VERIFY_FAILED in host.log_in()
    assert host.converge()["changes"] == []


def test_other_roots_need_a_list_too_which_may_come_with_them(host: Host) -> None:
    other = issuing.new_authority("server", "P-256", TODAY)
    host.revoke()
    with pytest.raises(TlsError, match=f"there is no list of revoked certificates of '{other.root.common_name}'"):
        host.converge(roots=AUTHORITIES["server"].root.pem + other.root.pem)
    host.converge(roots=AUTHORITIES["server"].root.pem + other.root.pem + "".join(other.crls))
    assert host.log_in() == "app\n"


def test_a_list_that_ends_is_told_by_every_run_and_stops_no_renewal(host: Host) -> None:
    host.revoke(days=1)
    host.converge()
    wanted = target.read(host.clients.options, TODAY)
    warnings = convergence.converge(wanted, TODAY, float(TODAY), check_mode=False).warnings
    assert len(warnings) == 2, "of the issuing CA and of the root"
    assert all("ends on" in one and "Run site.yml, which makes a new list." in one for one in warnings)
    before = used(host.user)
    host.converge(renew=True, now=TODAY + 2 * DAY)
    assert used(host.user) != before
