# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that checks whether its clients' certificates are revoked: who is refused, and who is not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate, openssl
from ansible_collections.pgops.tls.tests import companies
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY, Server, lists
from ansible_collections.pgops.tls.tests.shared import DAY
from cryptography.hazmat.primitives.serialization import load_pem_private_key


class Client:
    """Who logs in as role app with a certificate of the client authority."""

    def __init__(self, folder: Path, authority: issuing.Authority = AUTHORITIES["client"]) -> None:
        folder.mkdir()
        self.key, self.chain = folder / "key", folder / "chain"
        self.key.write_text(openssl.new_key("P-256"))
        self.key.chmod(0o600)
        public_key = load_pem_private_key(self.key.read_bytes(), None).public_key()
        leaf = issuing.new_leaf(
            issuing.Issuer.of(authority.issuing, authority.issuing_key),
            certificate.CLIENT_AUTH,
            issuing.Holder("app", ()),
            public_key,  # type: ignore[arg-type]
            issuing.Validity(TODAY - 300, TODAY + 9 * DAY),
        )
        self.leaf = certificate.read_der(leaf, "leaf")
        self.chain.write_text(self.leaf.pem + authority.issuing.pem)
        self.roots = folder / "roots"
        self.roots.write_text(AUTHORITIES["server"].root.pem)

    def log_in(self, server: Server) -> str:
        """Return what psql says: the role, or why there is no connection."""
        conninfo = (
            f"host=localhost hostaddr=127.0.0.1 port={server.cluster.port} user=app dbname=postgres "
            f"sslmode=verify-full sslrootcert={self.roots} sslcert={self.chain} sslkey={self.key} sslcrl=/nonexistent"
        )
        command = [str(server.cluster.programs / "psql"), "-XAt", "-d", conninfo, "-c", "SELECT current_user"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={"LC_ALL": "C"})
        return done.stdout + done.stderr


@pytest.fixture
def app(managed: Server, tmp_path: Path) -> Client:
    """Return a client that gets in."""
    client = Client(tmp_path / "app")
    assert client.log_in(managed) == "app\n"
    return client


def revoke(server: Server, *serials: int, **options: int) -> None:
    server.options["crls"] = lists("client", *serials, **options)


def test_who_is_revoked_is_refused_within_one_run_and_all_others_get_in(
    managed: Server, app: Client, tmp_path: Path
) -> None:
    before = managed.served()
    revoke(managed, app.leaf.serial)
    foreseen = managed.converge(check_mode=True)
    assert app.log_in(managed) == "app\n"
    outcome = managed.settle()
    assert outcome.changes == foreseen.changes
    assert "crl.pem: new" in outcome.changes
    generation = (managed.directory / "current").resolve()
    assert f"ssl_crl_file = '{generation}/crl.pem'" in (generation / "ssl.conf").read_text(), "and not through the link"
    assert outcome.plan.reasons == []
    assert "certificate revoked" in app.log_in(managed)
    assert Client(tmp_path / "other").log_in(managed) == "app\n"
    assert managed.served() == before, "no new certificate for that"
    assert managed.converge().changes == []
    managed.restart()
    assert "certificate revoked" in app.log_in(managed)


def test_a_new_list_takes_the_place_of_the_old_one(managed: Server, app: Client) -> None:
    revoke(managed)
    managed.settle()
    assert app.log_in(managed) == "app\n"
    revoke(managed, app.leaf.serial)
    assert managed.settle().changes == ["crl.pem: changed"]
    assert "certificate revoked" in app.log_in(managed)


@pytest.mark.parametrize("crls", [lists("client"), lists("client", 1), ""])
def test_lists_that_revoke_less_than_those_in_use_stop_the_run_with_the_entry_to_write(
    managed: Server, app: Client, crls: str
) -> None:
    """Such come from authorities that were restored from an older backup."""
    revoke(managed, app.leaf.serial)
    managed.settle()
    before = managed.disk()
    managed.options["crls"] = crls
    serial = f"{app.leaf.serial:x}"
    entry = rf'\{{serial: "{serial}", authority: client\}}'
    told = rf"crls: .* revoke {serial}, .*revoked of module certificate_authority: \[{entry}\]"
    for check_mode in (True, False):
        with pytest.raises(TlsError, match=told):
            managed.converge(check_mode=check_mode)
        with pytest.raises(TlsError, match=told):
            managed.converge(check_mode=check_mode, renew=True)
    assert managed.disk() == before
    assert "certificate revoked" in app.log_in(managed)
    revoke(managed, app.leaf.serial, 1)
    assert managed.settle().changes == ["crl.pem: changed"]


def test_without_lists_the_file_goes_again_that_revoked_nobody(managed: Server, app: Client) -> None:
    revoke(managed)
    managed.settle()
    managed.options["crls"] = ""
    outcome = managed.settle()
    assert "crl.pem: removed, nothing is revoked" in outcome.changes
    assert not (managed.directory / "current" / "crl.pem").exists()
    assert app.log_in(managed) == "app\n"


@pytest.mark.parametrize(
    ("crls", "message"),
    [
        (
            lists("client", start=TODAY - 91 * DAY),
            r"crls: the list .* is valid from .* every certificate would be refused",
        ),
        (lists("client", start=TODAY + DAY), r"crls: the list .* is valid from"),
        (lists("server"), r"crls: there is no list of revoked certificates of 'PostgreSQL client issuing CA"),
        (lists("client").split("\n-----BEGIN")[0], r"crls: there is no list .* of 'PostgreSQL client root CA"),
        ("nonsense", r"crls: expected lists of revoked certificates \(CRLs\) in PEM, found"),
    ],
)
@pytest.mark.parametrize("check_mode", [True, False])
def test_lists_that_would_keep_clients_out_stop_the_run_before_anything_changes(
    managed: Server, app: Client, crls: str, message: str, check_mode: bool
) -> None:
    before = managed.disk()
    managed.options["crls"] = crls
    with pytest.raises(TlsError, match=message):
        managed.converge(check_mode=check_mode)
    assert managed.disk() == before
    assert app.log_in(managed) == "app\n"


@pytest.mark.parametrize(
    ("crls", "said"),
    [
        (lists("client").split("\n-----BEGIN")[0] + "\n", "unknown ca"),
        (lists("client", start=TODAY - 91 * DAY), "certificate expired"),
    ],
    ids=["a list lacks", "lists have ended"],
)
def test_postgresql_itself_keeps_everybody_out_without_good_lists(
    managed: Server, app: Client, crls: str, said: str
) -> None:
    """This is what the refusals are for."""
    revoke(managed)
    managed.settle()
    ((managed.directory / "current").resolve() / "crl.pem").write_text(crls)
    managed.cluster.reload()
    assert said in app.log_in(managed)
    assert managed.settle().changes[0] == "crl.pem: changed", "and the next run fixes it"
    assert app.log_in(managed) == "app\n"


def test_a_template_without_the_list_is_told(managed: Server) -> None:
    revoke(managed)
    with pytest.raises(TlsError, match=r"ssl\.conf: expected ssl_crl_file = '.*/current/crl\.pem', found ''"):
        managed.converge(ssl_conf=managed.ssl_conf().replace(f"{managed.directory}/current/crl.pem", ""))


def test_a_server_whose_certificate_is_revoked_gets_another_key_and_certificate(managed: Server) -> None:
    before, key = managed.served(), managed.used()["server.key"]
    leaf = certificate.read_pem(managed.used()["server.crt"].decode(), "leaf")[0]
    managed.options["revoked"] = ["1", f"{leaf.serial:x}"]
    assert managed.settle().plan.reasons == ["revoked"]
    assert managed.served() != before
    assert managed.used()["server.key"] != key
    assert managed.converge().changes == []


def test_a_roll_back_keeps_the_lists_of_today(managed: Server, app: Client) -> None:
    revoke(managed)
    managed.settle()
    managed.settle(renew=True)
    revoke(managed, app.leaf.serial)
    managed.settle(renew=True)
    serial = managed.roll_back().leaf
    assert "certificate revoked" in app.log_in(managed)
    assert serial is not None
    assert managed.converge().changes == []


def test_no_roll_back_leads_to_before_the_first_revocation_or_to_a_revoked_certificate(managed: Server) -> None:
    leaf = certificate.read_pem(managed.used()["server.crt"].decode(), "leaf")[0]
    revoke(managed)
    managed.settle(renew=True)
    with pytest.raises(TlsError, match=r"ssl\.conf: it is older than the first revocation"):
        managed.roll_back()
    managed.settle(renew=True)
    with pytest.raises(TlsError, match=r"server\.crt: its certificate, serial [0-9a-f]+, is revoked"):
        managed.roll_back(revoked=[f"{serial_before(managed):x}"])
    assert leaf.serial != serial_before(managed)


def serial_before(server: Server) -> int:
    """Return the serial number of the certificate in the generation before."""
    generations = sorted((server.directory / "generations").iterdir())
    return certificate.read_pem((generations[-2] / "server.crt").read_text(), "leaf")[0].serial


def test_a_list_of_others_may_go_when_ours_revokes_all_of_it(managed: Server, app: Client) -> None:
    path = managed.cluster.write("theirs.crl", lists("client", app.leaf.serial, 4711))
    managed.cluster.append("postgresql.conf", f"ssl_crl_file = '{path}'\n")
    revoke(managed, app.leaf.serial)
    with pytest.raises(TlsError, match=r"Certificates revoked there would be accepted again.*serial numbers: 1267\)"):
        managed.converge()
    revoke(managed, app.leaf.serial, 4711)
    outcome = managed.settle()
    assert any("the server no longer reads that list" in warning for warning in outcome.warnings)
    assert "certificate revoked" in app.log_in(managed)


def test_other_authorities_for_logins_need_a_list_too(managed: Server, tmp_path: Path) -> None:
    other = issuing.new_authority("client", "P-256", TODAY)
    client = Client(tmp_path / "other", other)
    extra = other.issuing.pem + other.root.pem
    managed.options["extra_trusted_clients"] = extra
    managed.settle()
    assert client.log_in(managed) == "app\n"
    revoke(managed)
    with pytest.raises(TlsError, match=f"there is no list of revoked certificates of '{other.issuing.common_name}'"):
        managed.converge()
    managed.options["extra_trusted_clients"] = extra + "".join(other.crls)
    managed.settle()
    assert client.log_in(managed) == "app\n"


COMPANY = companies.authority("Company CA", start=TODAY - DAY)


def of_company(*serials: int, start: int = TODAY - 7200, days: float = 9) -> str:
    """Return a company's list (PEM)."""
    return companies.as_pem(companies.revocation_list(COMPANY, *serials, start=start, days=days))


@pytest.fixture
def of_theirs(managed: Server, tmp_path: Path) -> Client:
    """Have the server trust a company's CA alone, whose list revokes the certificate of a client; return that."""
    client = Client(tmp_path / "theirs")
    public_key = load_pem_private_key(client.key.read_bytes(), None).public_key()
    leaf = companies.leaf(COMPANY, public_key, "app", usages=[certificate.CLIENT_AUTH], start=TODAY - 300, days=9)
    client.leaf = companies.as_read(leaf)
    client.chain.write_text(client.leaf.pem)
    managed.options["trusted_clients"] = COMPANY.pem
    managed.options["crls"] = of_company(client.leaf.serial, 4711)
    managed.settle()
    assert "certificate revoked" in client.log_in(managed)
    return client


def test_a_later_list_of_another_ca_takes_the_place_of_one_that_revokes_more(
    managed: Server, of_theirs: Client
) -> None:
    managed.options["crls"] = of_company(of_theirs.leaf.serial, start=TODAY - 60)
    assert managed.settle().changes == ["crl.pem: changed"]
    assert "certificate revoked" in of_theirs.log_in(managed)
    managed.options["crls"] = of_company(start=TODAY - 3600)
    with pytest.raises(TlsError, match=f"revoke {of_theirs.leaf.serial:x}, but"):
        managed.converge()


def test_a_list_of_another_ca_is_taken_away_before_it_would_refuse_everybody(
    managed: Server, of_theirs: Client
) -> None:
    managed.options["crls"] = ""
    with pytest.raises(TlsError, match=f"revoke .*{of_theirs.leaf.serial:x}.*, but"):
        managed.converge()
    outcome = managed.settle(now=TODAY + 8 * DAY)
    assert "crl.pem: removed, nothing is revoked" in outcome.changes
    assert of_theirs.log_in(managed) == "app\n"


def test_a_list_in_use_that_ends_is_told_by_every_run_and_stops_no_renewal(managed: Server, of_theirs: Client) -> None:
    assert managed.converge().warnings == []
    (warning,) = managed.converge(now=TODAY + 8 * DAY).warnings
    assert "of 'Company CA' ends on" in warning
    before = managed.served()
    outcome = managed.settle(renew=True, now=TODAY + 10 * DAY)
    assert any("has ended on" in warning for warning in outcome.warnings)
    assert managed.served() != before
    assert "app" not in of_theirs.log_in(managed).splitlines()
