# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server that others have set up gets, keeps, and is told when the collection comes to it."""

from __future__ import annotations

import shutil
import sys
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import parse_all
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY, Server
from ansible_collections.pgops.tls.tests.shared import DAY
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec


def test_an_authority_of_others_is_trusted_for_logins_as_long_as_it_is_declared(server: Server) -> None:
    old, other = (issuing.new_authority("client", "P-256", TODAY).root for _one in range(2))
    server.cluster.write("clients.crt", old.pem + other.pem)
    server.cluster.append("postgresql.conf", "ssl_ca_file = 'clients.crt'\n")
    lost, warned = server.converge(check_mode=True, extra_trusted_clients=f"{old.pem}\n").warnings
    assert f"clients with certificates of {other.common_name!r} can no longer log in" in lost
    assert f"certificates of {old.common_name!r} log in like those of this collection" in warned
    [warned] = server.settle(extra_trusted_clients=old.pem + other.pem).warnings
    assert f"{old.common_name!r}, {other.common_name!r}" in warned
    assert server.used()["trusted-clients.crt"].decode().endswith(old.pem + other.pem)
    assert server.settle().changes == ["trusted-clients.crt: changed"]
    authority = AUTHORITIES["client"]
    assert server.used()["trusted-clients.crt"].decode() == authority.issuing.pem + authority.root.pem
    assert server.converge().warnings == []


def test_a_server_that_is_new_here_is_told_how_to_undo_alter_system_without_a_gap(server: Server) -> None:
    server.cluster.psql("ALTER SYSTEM SET ssl_cert_file = 'it''s.crt'")
    with pytest.raises(TlsError) as failure:
        server.converge(check_mode=True)
    assert failure.value.message.endswith(
        f"first append what is set now to {server.cluster.data}/postgresql.conf, each on a line of its own: "
        "ssl_cert_file = 'it''s.crt'"
    )
    server.cluster.psql("ALTER SYSTEM RESET ssl_cert_file")
    server.settle()
    server.cluster.psql("ALTER SYSTEM SET ssl_cert_file = 'elsewhere.crt'")
    with pytest.raises(TlsError, match=r"RESET ssl_cert_file; SELECT pg_reload_conf\(\);$"):
        server.converge()


def test_names_that_only_the_certificate_of_others_has_are_told_once(server: Server, server_authority: Any) -> None:
    names = "DNS:localhost,DNS:shop.example,IP:127.0.0.1,IP:::1"
    server.cluster.serve(*server_authority.issue("old", "serverAuth", names), server_authority.root)
    for check_mode in (True, False):
        told = [one for one in server.converge(check_mode=check_mode).warnings if "Add these names to names" in one]
        assert [one.partition(", but")[0] for one in told] == [
            "The certificate that the server shows is for shop.example, ::1"
        ]
    both = ["localhost", "127.0.0.1", "::1", "shop.example"]
    assert not [one for one in server.settle(names=both).warnings if "Add these names to names" in one]
    assert server.settle(renew=True).warnings == [], "the names of a certificate of its own are the inventory's"


def lost_issuers(outcome: Any) -> list[str]:
    """Return by whom clients verify the server that will not verify its new certificate, as the run says it."""
    return [one for one in outcome.warnings if "its new one is not: clients that verify the server" in one]


def test_the_authority_of_others_by_which_clients_verify_the_server_is_told_once(
    server: Server, server_authority: Any
) -> None:
    server.cluster.serve(*server_authority.issue("old", "serverAuth", "DNS:localhost"), server_authority.root)
    for check_mode in (True, False):
        [told] = lost_issuers(server.converge(check_mode=check_mode))
        assert told.startswith("The certificate that the server shows is verified by 'CN=Test server CA', but its new")
        assert f"do not trust {AUTHORITIES['server'].root.common_name!r} will refuse it. Before this run, add" in told
        assert "roots of module client" in told
    assert lost_issuers(server.settle())
    assert server.settle(renew=True).warnings == []


def test_the_root_is_told_and_not_the_issuing_authority_below_it(server: Server) -> None:
    old = issuing.new_authority("server", "P-256", TODAY)
    key, leaf = leaf_of(old)
    folder = server.cluster.home
    (folder / "chain.crt").write_text(leaf + old.issuing.pem)
    (folder / "chain.key").write_bytes(key)
    server.cluster.serve(folder / "chain.crt", folder / "chain.key", folder / "chain.crt")
    [told] = lost_issuers(server.converge(check_mode=True))
    name = old.root.common_name if sys.version_info >= (3, 10) else old.issuing.common_name
    assert f"is verified by 'CN={name}'" in told


def test_a_server_whose_directory_got_lost_loses_no_issuer(server: Server) -> None:
    server.settle()
    shutil.move(server.directory / "current", server.directory / "away")
    assert lost_issuers(server.converge(check_mode=True)) == []


def test_a_self_signed_certificate_may_be_what_clients_verify_by_but_not_the_one_of_debian(
    server: Server, server_authority: Any
) -> None:
    server.cluster.serve(server_authority.root, server_authority.key, server_authority.root)
    [told] = lost_issuers(server.converge(check_mode=True))
    assert "is verified by 'CN=Test server CA'" in told
    server.cluster.write("ssl-cert-snakeoil.pem", (server.cluster.data / "server.crt").read_bytes())
    server.cluster.append("postgresql.conf", "ssl_cert_file = 'ssl-cert-snakeoil.pem'\n")
    server.cluster.reload()
    assert lost_issuers(server.converge(check_mode=True)) == []


def test_the_name_of_a_certificate_without_others_is_its_common_name(server: Server, server_authority: Any) -> None:
    server.cluster.serve(*server_authority.issue("db.example", "serverAuth"), server_authority.root)
    [told] = [one for one in server.converge().warnings if "Add these names to names" in one]
    assert "shows is for db.example, but" in told


def test_the_name_of_a_self_signed_certificate_is_nothing_to_tell_of(server: Server, server_authority: Any) -> None:
    server.cluster.serve(server_authority.root, server_authority.key, server_authority.root)
    assert not [one for one in server.converge().warnings if "Add these names to names" in one]


def leaf_of(authority: issuing.Authority) -> tuple[bytes, str]:
    """Return a key and the certificate (PEM both) that an authority issues for it and for localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = issuing.Issuer.of(authority.issuing, authority.issuing_key)
    holder = issuing.Holder("", tuple(parse_all(["localhost"], "names")))
    validity = issuing.Validity(TODAY - 300, TODAY + DAY)
    leaf = issuing.new_leaf(issuer, certificate.SERVER_AUTH, holder, key.public_key(), validity)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()), certificate.read_der(leaf, "leaf").pem


OLD_RULES = """\
# \303\244 of 2014
local   all  all                 trust
hostssl all  report  all         md5   clientcert=1   # a certificate, too
hostssl all  old     127.0.0.1  255.255.255.255  md5 clientcert=0
hostssl all  app     all         trust\tclientcert=verify-ca
"""


def test_rules_of_before_14_are_rewritten_where_that_is_wanted(server: Server) -> None:
    server.cluster.write("pg_hba.conf", OLD_RULES)
    is_old = int(server.cluster.psql("SHOW server_version_num")) < 140000
    if not is_old:
        with pytest.raises(TlsError, match=r"would not load new rules because of \S+ line 3"):
            server.settle()
    options = {"hba": "hostssl shop app all cert\n", "plaintext": "allow", "upgrade_clientcert": True}
    foreseen = server.converge(check_mode=True, **options)
    assert "pg_hba.conf: changed" in foreseen.changes
    server.settle(**options)
    wanted = OLD_RULES.replace("md5   clientcert=1 ", "md5   clientcert=verify-ca ").replace(" clientcert=0", "")
    assert (server.cluster.data / "pg_hba.conf").read_text().endswith(f"# END pgops.tls\n{wanted}")
    loaded = server.cluster.psql("SELECT count(*) FROM pg_hba_file_rules WHERE error IS NULL AND type = 'hostssl'")
    assert loaded == "4"
    assert server.settle(**options).changes == []
    server.restart()


def test_a_server_without_rules_of_ours_gets_its_old_ones_rewritten_alone(server: Server) -> None:
    server.cluster.write("pg_hba.conf", OLD_RULES)
    server.settle(hba="", plaintext="allow", upgrade_clientcert=True)
    text = (server.cluster.data / "pg_hba.conf").read_text()
    assert len([1 for old, new in zip(OLD_RULES.splitlines(), text.splitlines()) if old != new]) == 2
    assert len(OLD_RULES.splitlines()) == len(text.splitlines())


def test_certificates_of_pg_hosts_conf_are_told_of_and_ours_in_it_are_proven(server: Server) -> None:
    if int(server.cluster.psql("SHOW server_version_num")) < 190000:
        pytest.skip("ssl_sni came with PostgreSQL 19")
    server.settle()
    current, data = server.directory / "current", server.cluster.data
    server.cluster.write("other.crt", (current / "server.crt").read_bytes())
    server.cluster.write("other.key", (current / "server.key").read_bytes())
    server.cluster.write("pg_hosts.conf", "* other.crt other.key\n")
    server.cluster.append("postgresql.conf", "ssl_sni = on\n")
    server.cluster.reload()
    [warning] = [one for one in server.settle().warnings if "pg_hosts.conf" in one]
    assert f"ssl_sni is on, and {data}/pg_hosts.conf line 1 names a certificate" in warning
    before = server.served()
    with pytest.raises(
        TlsError, match=r"did not take the new TLS files: ssl_sni is on, and .* The previous state is restored"
    ):
        server.settle(renew=True)
    assert server.served() == before
    server.cluster.write(
        "pg_hosts.conf", f"* {current}/server.crt {current}/server.key {current}/trusted-clients.crt\n"
    )
    server.settle(renew=True)
    assert server.served() != before
