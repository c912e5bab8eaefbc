# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every message of PostgreSQL and libpq that the troubleshooting page quotes, provoked on a real server."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import read_pem
from ansible_collections.pgops.tls.tests.troubleshooting import OURS, Provocations, Site, check, symptoms

QUOTES_OF_OTHERS = {
    title: quotes for title, quotes in symptoms().items() if not any(quote.source == OURS for quote in quotes)
}
PROVOKED_OF_OTHERS = Provocations()
QUOTED = (13, 15, 17)  # versions, as the page says
CERTIFICATE_RULE = "hostssl all all all cert"


@pytest.fixture
def site(cluster: Any, os_user: tuple[str, Path], server_authority: Any, client_authority: Any) -> Site:
    made = Site(cluster, *os_user, server_authority=server_authority, client_authority=client_authority)
    made.set_up()
    return made


def test_every_symptom_on_the_page_is_provoked_and_every_provocation_is_on_the_page() -> None:
    assert sorted(QUOTES_OF_OTHERS) == sorted(PROVOKED_OF_OTHERS)
    assert len(QUOTES_OF_OTHERS) >= 25
    assert [title for title, quotes in QUOTES_OF_OTHERS.items() if not quotes] == []


@pytest.mark.sampled(3)
@pytest.mark.parametrize("title", PROVOKED_OF_OTHERS)
def test_the_messages_of_a_symptom_are_as_quoted(site: Site, title: str) -> None:
    major = int(site.cluster.psql("SHOW server_version_num")) // 10000
    if major not in QUOTED:
        pytest.skip("the page quotes no messages of this version")
    PROVOKED_OF_OTHERS[title](site)
    check(site, QUOTES_OF_OTHERS[title], major)


# The client does not accept the server


@PROVOKED_OF_OTHERS.of("root certificate file ... does not exist")
def _root_certificate_file_does_not_exist(site: Site) -> None:
    (site.files / "root.crt").unlink()
    site.connect()


@PROVOKED_OF_OTHERS.of("could not read root certificate file")
def _could_not_read_root_certificate_file(site: Site) -> None:
    site.give("root.crt", b"not PEM\n")
    site.connect()


@PROVOKED_OF_OTHERS.of("SSL error: certificate verify failed")
def _ssl_error_certificate_verify_failed(site: Site) -> None:
    site.serve("DNS:db1.example.com", days=0)
    site.connect()
    site.give("root.crt", site.client_authority.root.read_bytes())
    site.connect()


@PROVOKED_OF_OTHERS.of("server certificate for ... does not match host name")
def _server_certificate_for_does_not_match_host(site: Site) -> None:
    site.connect(host="db9.example.com")


@PROVOKED_OF_OTHERS.of("server certificate for ... (and ... other names) does not match host name")
def _server_certificate_for_and_other_names_does(site: Site) -> None:
    site.serve("DNS:db1.example.com,DNS:db1.internal.example,IP:192.0.2.1")
    site.connect(host="db1")
    site.serve("DNS:db1.example.com")
    site.connect(host="192.0.2.1")


@PROVOKED_OF_OTHERS.of("server does not support SSL, but SSL was required")
def _server_does_not_support_ssl_but_ssl_was(site: Site) -> None:
    site.setting("ssl = off")
    site.connect()


@PROVOKED_OF_OTHERS.of("alert protocol version")
def _alert_protocol_version(site: Site) -> None:
    site.setting("ssl_min_protocol_version = 'TLSv1.3'")
    site.connect(ssl_max_protocol_version="TLSv1.2")


@PROVOKED_OF_OTHERS.of("alert handshake failure")
def _alert_handshake_failure(site: Site) -> None:
    site.setting("ssl_max_protocol_version = 'TLSv1.2'", "ssl_ciphers = 'ECDHE-RSA-AES256-GCM-SHA384'")
    site.connect()


@PROVOKED_OF_OTHERS.of("sslrootcert=system")
def _sslrootcert_system(site: Site) -> None:
    site.connect(sslrootcert="system", sslmode="require")
    site.connect(sslrootcert="system")


@PROVOKED_OF_OTHERS.of("channel binding required")
def _channel_binding_required(site: Site) -> None:
    site.connect(channel_binding="require")
    site.rules("host all all all scram-sha-256")
    site.connect(channel_binding="require", sslmode="disable", password="sesame")


# The client's own files


@PROVOKED_OF_OTHERS.of("private key file ... has group or world access (client)")
def _private_key_file_has_group_or_world_access(site: Site) -> None:
    (site.files / "postgresql.key").chmod(0o644)
    site.connect()


@PROVOKED_OF_OTHERS.of("certificate present, but not private key file")
def _certificate_present_but_not_private_key_file(site: Site) -> None:
    (site.files / "postgresql.key").unlink()
    site.connect()


@PROVOKED_OF_OTHERS.of("key values mismatch (client)")
def _key_values_mismatch_client(site: Site) -> None:
    _certificate, key = site.client_authority.issue("other", "clientAuth")
    site.give("postgresql.key", key.read_bytes())
    site.connect()


@PROVOKED_OF_OTHERS.of("could not load private key file (client)")
def _could_not_load_private_key_file_client(site: Site) -> None:
    site.give("postgresql.key", b"not PEM\n")
    site.connect()
    encrypted = site.files / "encrypted"
    key = str(site.client_authority.directory / "app.key")
    argv = ["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:sesame", "-out", str(encrypted)]
    subprocess.run(argv, check=True, capture_output=True)
    site.give("postgresql.key", encrypted.read_bytes())
    site.connect()


@PROVOKED_OF_OTHERS.of("could not read certificate file: unreadable characters")
def _could_not_read_certificate_file_unreadable(site: Site) -> None:
    os.chown(site.files / "postgresql.crt", 0, 0)
    site.connect()


@PROVOKED_OF_OTHERS.of("could not read certificate file")
def _could_not_read_certificate_file(site: Site) -> None:
    site.give("postgresql.crt", b"not PEM\n")
    site.connect()


@PROVOKED_OF_OTHERS.of("definition of service ... not found")
def _definition_of_service_not_found(site: Site) -> None:
    site.connect(service="app")


# The server does not accept the client


@PROVOKED_OF_OTHERS.of("no pg_hba.conf entry for host ..., no encryption")
def _no_pg_hba_conf_entry_for_host_no_encryption(site: Site) -> None:
    site.connect(sslmode="disable")


@PROVOKED_OF_OTHERS.of("pg_hba.conf rejects connection for host ..., no encryption")
def _pg_hba_conf_rejects_connection_for_host_no(site: Site) -> None:
    site.rules("hostssl all app all cert", "hostnossl all all all reject")
    site.connect(sslmode="disable")


@PROVOKED_OF_OTHERS.of("no pg_hba.conf entry for host ..., SSL encryption")
def _no_pg_hba_conf_entry_for_host_ssl_encryption(site: Site) -> None:
    site.rules("hostssl all report all cert")
    site.connect()


@PROVOKED_OF_OTHERS.of("connection requires a valid client certificate")
def _connection_requires_a_valid_client(site: Site) -> None:
    (site.files / "postgresql.crt").unlink()
    site.connect()


@PROVOKED_OF_OTHERS.of("certificate authentication failed for user")
def _certificate_authentication_failed_for_user(site: Site) -> None:
    site.connect(user="report")


@PROVOKED_OF_OTHERS.of("no match in usermap")
def _no_match_in_usermap(site: Site) -> None:
    site.cluster.write("pg_ident.conf", "people shop report\n")
    site.rules("hostssl all all all cert map=people")
    site.connect()


@PROVOKED_OF_OTHERS.of("certificate validation (clientcert=verify-full) failed")
def _certificate_validation_clientcert_verify_full(site: Site) -> None:
    site.rules("hostssl all all all scram-sha-256 clientcert=verify-full")
    site.connect(user="report", password="sesame")
    site.rules("hostssl all all all trust clientcert=verify-full")
    site.connect(user="report")


@PROVOKED_OF_OTHERS.of("fe_sendauth: no password supplied")
def _fe_sendauth_no_password_supplied(site: Site) -> None:
    site.rules("hostssl all report all cert", "host all all all scram-sha-256")
    site.connect()


@PROVOKED_OF_OTHERS.of("alert unknown ca")
def _alert_unknown_ca(site: Site) -> None:
    site.own(site.server_authority, "app")
    site.connect(ssl_max_protocol_version="TLSv1.2")  # with TLS 1.3 the alert may get lost


@PROVOKED_OF_OTHERS.of("alert certificate revoked")
def _alert_certificate_revoked(site: Site) -> None:
    leaf = read_pem((site.files / "postgresql.crt").read_text(), "postgresql.crt")[0]
    path = site.cluster.write("revoked.crl", site.client_authority.revocation_list(leaf.serial))
    site.setting(f"ssl_crl_file = '{path}'")
    site.connect(ssl_max_protocol_version="TLSv1.2")


@PROVOKED_OF_OTHERS.of("alert certificate expired")
def _alert_certificate_expired(site: Site) -> None:
    site.own(site.client_authority, "app", days=0)
    site.connect(ssl_max_protocol_version="TLSv1.2")


@PROVOKED_OF_OTHERS.of("alert unsupported certificate")
def _alert_unsupported_certificate(site: Site) -> None:
    site.own(site.client_authority, "app", "serverAuth")
    site.connect(ssl_max_protocol_version="TLSv1.2")


@PROVOKED_OF_OTHERS.of("client certificates can only be checked if a root certificate store is available")
def _client_certificates_can_only_be_checked_if_a(site: Site) -> None:
    site.setting("ssl_ca_file = ''")
    site.connect()


# The server's log


@PROVOKED_OF_OTHERS.of("SSL configuration was not reloaded")
def _ssl_configuration_was_not_reloaded(site: Site) -> None:
    site.cluster.write("server.key", "not PEM\n")
    site.cluster.reload()
    assert site.connect() == "app", "the old files are still in use"


@PROVOKED_OF_OTHERS.of("FATAL at the next start")
def _fatal_at_the_next_start(site: Site) -> None:
    (site.cluster.data / "server.crt").unlink()
    site.cluster.reload()
    site.fails_to_start()


@PROVOKED_OF_OTHERS.of("private key file ... has group or world access (server)")
def _private_key_file_has_group_or_world_access_2(site: Site) -> None:
    (site.cluster.data / "server.key").chmod(0o640)
    site.cluster.reload()


@PROVOKED_OF_OTHERS.of("private key file ... must be owned by the database user or root")
def _private_key_file_must_be_owned_by_the(site: Site) -> None:
    os.chown(site.cluster.data / "server.key", 1, 1)
    site.cluster.reload()


@PROVOKED_OF_OTHERS.of("could not load private key file: Permission denied (server)")
def _could_not_load_private_key_file_permission(site: Site) -> None:
    os.chown(site.cluster.data / "server.key", 0, 0)
    site.cluster.reload()


@PROVOKED_OF_OTHERS.of("key values mismatch (server)")
def _key_values_mismatch_server(site: Site) -> None:
    _certificate, key = site.server_authority.issue("other", "serverAuth", "DNS:other")
    site.cluster.write("server.key", key.read_bytes())
    site.cluster.reload()


@PROVOKED_OF_OTHERS.of("could not load server certificate file")
def _could_not_load_server_certificate_file(site: Site) -> None:
    site.cluster.write("server.crt", "not PEM\n")
    site.cluster.reload()
    (site.cluster.data / "server.crt").unlink()
    site.cluster.reload()


@PROVOKED_OF_OTHERS.of("could not load root certificate file")
def _could_not_load_root_certificate_file(site: Site) -> None:
    site.cluster.write("clients.crt", "not PEM\n")
    site.cluster.reload()
    (site.cluster.data / "clients.crt").unlink()
    site.cluster.reload()


@PROVOKED_OF_OTHERS.of("private key file ... cannot be reloaded because it requires a passphrase")
def _private_key_file_cannot_be_reloaded_because(site: Site) -> None:
    key, path = site.server_authority.directory / "db1.example.com.key", site.cluster.data / "server.key"
    argv = ["openssl", "pkey", "-in", str(key), "-aes256", "-passout", "pass:sesame", "-out", str(path)]
    subprocess.run(argv, check=True, capture_output=True)
    site.cluster.reload()


@PROVOKED_OF_OTHERS.of("could not set SSL protocol version range")
def _could_not_set_ssl_protocol_version_range(site: Site) -> None:
    site.setting("ssl_min_protocol_version = 'TLSv1.3'", "ssl_max_protocol_version = 'TLSv1.2'")


@PROVOKED_OF_OTHERS.of("could not set the cipher list")
def _could_not_set_the_cipher_list(site: Site) -> None:
    site.setting("ssl_ciphers = 'NONSENSE'")


@PROVOKED_OF_OTHERS.of("unrecognized configuration parameter")
def _unrecognized_configuration_parameter(site: Site) -> None:
    site.setting("ssl_sni = on")


@PROVOKED_OF_OTHERS.of("could not load SSL certificate revocation list file")
def _could_not_load_ssl_certificate_revocation(site: Site) -> None:
    site.setting("ssl_crl_file = '/etc/postgresql/revoked.crl'")


@PROVOKED_OF_OTHERS.of("pg_hba.conf was not reloaded")
def _pg_hba_conf_was_not_reloaded(site: Site) -> None:
    site.rules("hostssl all all all cert clientcert=1", "host all all all cert", "hostssl all all all scram")


@PROVOKED_OF_OTHERS.of("hostssl record cannot match because SSL is disabled")
def _hostssl_record_cannot_match_because_ssl_is(site: Site) -> None:
    site.setting("ssl = off")
    site.rules(CERTIFICATE_RULE)


@PROVOKED_OF_OTHERS.of("pg_ident.conf was not reloaded")
def _pg_ident_conf_was_not_reloaded(site: Site) -> None:
    site.cluster.write("pg_ident.conf", "people shop\n")
    site.cluster.reload()


@PROVOKED_OF_OTHERS.of("could not accept SSL connection: ... alert unknown ca")
def _could_not_accept_ssl_connection_alert_unknown(site: Site) -> None:
    site.give("root.crt", site.client_authority.root.read_bytes())
    site.connect()


@PROVOKED_OF_OTHERS.of("could not accept SSL connection: EOF detected")
def _could_not_accept_ssl_connection_eof_detected(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.cluster.port)) as checker:
        checker.sendall(struct.pack("!ii", 8, 80877103))
        assert checker.recv(1) == b"S"


@PROVOKED_OF_OTHERS.of("invalid length of startup packet")
def _invalid_length_of_startup_packet(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.cluster.port)) as checker:
        checker.sendall(b"GET / HTTP/1.0\r\n\r\n")
        checker.recv(1)
