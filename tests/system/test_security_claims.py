# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the page on security says of PostgreSQL and libpq, tried: what protects, and what does not."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.postgres import client_rules, rule_text
from ansible_collections.pgops.tls.tests.servers import Server
from ansible_collections.pgops.tls.tests.troubleshooting import Site


@pytest.fixture
def site(cluster: Any, os_user: tuple[str, Path], server_authority: Any, client_authority: Any) -> Site:
    made = Site(cluster, *os_user, server_authority=server_authority, client_authority=client_authority)
    made.set_up()
    return made


def trust(site: Site, *authorities: Any) -> None:
    """Let the server trust the roots of these authorities for logins."""
    site.cluster.write("clients.crt", b"".join(authority.root.read_bytes() for authority in authorities))
    site.cluster.reload()


def test_a_servers_certificate_logs_in_nowhere_even_where_its_authority_is_trusted(site: Site) -> None:
    trust(site, site.client_authority, site.server_authority)
    site.own(site.server_authority, "app", "serverAuth")
    assert "unsupported certificate" in site.connect(ssl_max_protocol_version="TLSv1.2")


def test_a_clients_certificate_passes_for_no_server(site: Site) -> None:
    pair = site.client_authority.issue("app", "clientAuth", "DNS:db1.example.com")
    site.cluster.serve(*pair, site.client_authority.root)
    site.give("root.crt", site.client_authority.root.read_bytes())
    assert "certificate verify failed" in site.connect()


def test_every_authority_in_the_trust_file_can_make_certificates_for_any_role(site: Site) -> None:
    site.own(site.server_authority, "report")
    assert "alert" in site.connect(user="report", ssl_max_protocol_version="TLSv1.2")
    trust(site, site.client_authority, site.server_authority)
    assert site.connect(user="report") == "report"
    site.own(site.server_authority, "postgres")
    assert site.connect(user="postgres") == "postgres"


def test_verify_ca_beside_trust_lets_any_certificate_be_any_role(site: Site) -> None:
    site.rules("hostssl all all all trust clientcert=verify-ca")
    assert site.connect(user="postgres") == "postgres"
    site.rules("hostssl all all all trust clientcert=verify-full")
    assert "authentication failed" in site.connect(user="postgres")
    site.rules("hostssl all all all scram-sha-256 clientcert=verify-ca")
    assert site.connect(user="report", password="sesame") == "report", "by another role's certificate"


def test_verify_full_beside_a_password_wants_both(site: Site) -> None:
    site.rules("hostssl all all all scram-sha-256 clientcert=verify-full")
    assert site.connect(password="sesame") == "app"
    assert "authentication failed" in site.connect(password="wrong")
    assert "authentication failed" in site.connect(user="report", password="sesame")
    (site.files / "postgresql.crt").unlink()
    assert "requires a valid client certificate" in site.connect(password="sesame")


def test_a_map_is_nothing_that_a_password_rule_can_have(site: Site) -> None:
    site.rules("hostssl all all all scram-sha-256 clientcert=verify-full map=people")
    assert 'authentication option "map" is only valid for authentication methods' in site.cluster.log()


def test_a_map_lets_one_certificate_be_the_roles_that_it_names(site: Site) -> None:
    site.cluster.write("pg_ident.conf", "people app report\n")
    site.rules("hostssl all all all cert map=people")
    assert site.connect(user="report") == "report"
    assert "authentication failed" in site.connect(user="app")


def test_channel_binding_protects_a_password_login(site: Site) -> None:
    site.rules("hostssl all all all scram-sha-256")
    assert site.connect(password="sesame", channel_binding="require") == "app"
    site.rules("host all all all scram-sha-256")
    assert "SSL not in use" in site.connect(password="sesame", channel_binding="require", sslmode="disable")


def test_require_with_a_root_file_checks_the_chain_and_no_name_and_without_one_nothing(site: Site) -> None:
    assert site.connect(host="db9.example.com", sslmode="require") == "app"
    site.give("root.crt", site.client_authority.root.read_bytes())
    assert "certificate verify failed" in site.connect(sslmode="require")
    (site.files / "root.crt").unlink()
    assert site.connect(sslmode="require") == "app"


def test_prefer_goes_on_without_tls_where_the_server_has_none(site: Site) -> None:
    site.rules("host all all all trust")
    site.setting("ssl = off")
    assert site.connect(sslmode="prefer") == "app"
    assert "server does not support SSL" in site.connect()


def test_a_socket_ignores_verify_full(site: Site) -> None:
    directory = str(site.cluster.home)
    assert site.connect(host=directory, hostaddr=None) == "app"
    (site.files / "root.crt").unlink()
    assert site.connect(host=directory, hostaddr=None) == "app"


def test_a_role_without_login_is_refused_and_its_session_goes_on(site: Site) -> None:
    line = f"host=127.0.0.1 port={site.cluster.port} user=app dbname=postgres sslmode=require gssencmode=disable"
    argv = ["runuser", "-u", site.user, "--", str(site.cluster.programs / "psql"), "-XAtq", line]
    environment = {"PATH": os.environ["PATH"], "HOME": str(site.home)}
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True, env=environment, cwd="/") as session:
        assert session.stdin is not None
        assert session.stdout is not None

        def ask() -> str:
            assert session.stdin is not None
            assert session.stdout is not None
            session.stdin.write("SELECT user;\n")
            session.stdin.flush()
            return session.stdout.readline().strip()

        assert ask() == "app"
        site.cluster.psql("ALTER ROLE app NOLOGIN")
        assert 'role "app" is not permitted to log in' in site.connect()
        assert ask() == "app"
        site.cluster.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
        assert ask() == ""
        session.stdin.close()


def test_a_superuser_and_a_reader_of_server_files_read_the_servers_key(managed: Server) -> None:
    path = managed.directory / "current" / "server.key"
    query = f"SELECT pg_read_file('{path}') LIKE '%PRIVATE KEY%'"
    assert managed.cluster.psql(query) == "t"
    with pytest.raises(AssertionError, match="permission denied"):
        managed.cluster.psql(query, user="app")
    managed.cluster.psql("GRANT pg_read_server_files TO app; GRANT EXECUTE ON FUNCTION pg_read_file(text) TO app")
    assert managed.cluster.psql(query, user="app") == "t"


def test_rules_below_the_block_stay_open_and_a_replaced_file_has_none(namesake: Server) -> None:
    namesake.cluster.hba("host all app all trust")
    rules = "hostssl shop app all cert\nhostnossl all all all reject\nhostnossl replication all all reject\n"
    namesake.converge(hba=rules)
    line = f"host=127.0.0.1 port={namesake.cluster.port} user=app sslmode=require dbname="
    argv = [str(namesake.cluster.programs / "psql"), "-XAtqc", "SELECT user"]
    answers = [_said(argv, f"{line}{database}") for database in ("postgres", "shop")]
    assert answers[0] == "app", "another database than the rule's"
    assert "requires a valid client certificate" in answers[1]
    namesake.converge(hba=rules, hba_mode="replace")
    assert "no pg_hba.conf entry" in _said(argv, f"{line}postgres")


def test_an_address_closes_the_role_to_all_others_whatever_is_below_the_block(site: Site) -> None:
    def rules(*addresses: str) -> list[str]:
        identity = {"role": "app", "databases": ["postgres"], "address": list(addresses)}
        return [*map(rule_text.rule_line, client_rules.rules([identity])), "host all all all trust"]

    site.rules(*rules("127.0.0.2", "10.0.0.0/8", "::1"))  # the test itself comes from 127.0.0.1
    assert "pg_hba.conf rejects connection" in site.connect()
    assert site.connect(user="report") == "report", "whom no rule of the block is about"
    site.rules(*rules("127.0.0.2", "127.0.0.0/30"))
    assert site.connect() == "app"
    (site.files / "postgresql.crt").unlink()
    assert "requires a valid client certificate" in site.connect()
    site.rules(*rules("10.0.0.1")[:1], "host all all all trust")
    assert site.connect() == "app", "what the last rule of the role prevents"


def _said(argv: list[str], line: str) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    done = subprocess.run([*argv, line], capture_output=True, text=True, env=environment, check=False)
    return (done.stdout + done.stderr).strip()
