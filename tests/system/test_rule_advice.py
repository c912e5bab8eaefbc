# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of rules is what a real server makes of them."""

from __future__ import annotations

import contextlib
import re
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.postgres import hba_grammar
from ansible_collections.pgops.tls.plugins.module_utils.server import visitors
from ansible_collections.pgops.tls.tests.servers import HBA, Server
from ansible_collections.pgops.tls.tests.troubleshooting import Site


@pytest.fixture
def site(cluster: Any, os_user: tuple[str, Path], server_authority: Any, client_authority: Any) -> Site:
    made = Site(cluster, *os_user, server_authority=server_authority, client_authority=client_authority)
    made.set_up()
    return made


def advised(site: Site) -> list[tuple[int, str]]:
    """Return line and name of all that is told of the server's rules; the line for the socket is the first."""
    rules = visitors.of_server(site.cluster.port, site.cluster.socket_directory, "postgres")
    return [(one["line"], one["name"]) for one in rules.advised()]


class Identd(socketserver.ThreadingTCPServer):
    """A service that the method ident asks; a run may follow at once on another."""

    allow_reuse_address = True


class Answer(socketserver.StreamRequestHandler):
    """Says of every connection that it is alice's, as RFC 1413 has it."""

    def handle(self) -> None:
        ports = re.sub(rb"\s", b"", self.rfile.readline())
        self.wfile.write(ports + b" : USERID : UNIX : alice\r\n")


@contextlib.contextmanager
def identd() -> Iterator[None]:
    try:
        server = Identd(("127.0.0.1", 113), Answer)
    except OSError as error:
        pytest.skip(f"port 113: {error.strerror}")
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()


def test_a_map_is_asked_for_both_names(site: Site) -> None:
    site.rules("hostssl all all all ident clientcert=verify-full map=people")
    with identd():
        for maps, answer in (
            ("people app report\npeople alice report\n", "report"),
            ("people app report\n", "authentication failed"),
            ("people report report\npeople alice report\n", "authentication failed"),
        ):
            site.cluster.write("pg_ident.conf", maps)
            site.cluster.reload()
            assert answer in site.connect(user="report").splitlines()[-1]
    assert (2, "map_for_two_names") in advised(site)


def test_any_certificate_logs_in_as_any_role(site: Site) -> None:
    site.rules("hostssl all all all trust clientcert=verify-ca")
    assert advised(site) == [(2, "any_certificate")]
    assert site.connect(user="report") == "report"
    assert site.connect(user="postgres") == "postgres"


def test_a_rule_that_never_matches_decides_on_nothing(site: Site) -> None:
    site.rules("host all all 127.0.0.0/8 reject", "host all all ::/0 reject", "hostssl all all 127.0.0.1/32 cert")
    assert advised(site) == [(4, "never_matches")]
    assert "pg_hba.conf rejects connection" in site.connect()
    site.rules("hostssl all all 127.0.0.1/32 cert", "host all all 127.0.0.0/8 reject")
    assert advised(site) == []
    assert site.connect() == "app"


def test_a_map_has_no_place_beside_a_password_and_the_name_has_to_be_the_role(site: Site) -> None:
    site.cluster.write("pg_ident.conf", "people app report\n")
    for method in ("trust", "scram-sha-256"):
        rule = f"hostssl all all all {method} clientcert=verify-full"
        (problem,) = hba_grammar.problems(f"{rule} map=people", 17)
        assert problem.reason.endswith("With this method, the CN of a certificate must be the role")
        site.rules(f"{rule} map=people")
        assert site.connect(user="report") != "report", "the server keeps the rules that it had"
        assert 'authentication option "map" is only valid' in site.cluster.log()
        site.rules(rule)
        assert "authentication failed" in site.connect(user="report", password="sesame")
        assert site.connect(password="sesame") == "app"


def test_clientname_has_no_effect_where_no_name_is_compared(site: Site) -> None:
    if visitors.of_server(site.cluster.port, site.cluster.socket_directory, "postgres").facts.major < 14:
        pytest.skip("clientname needs PostgreSQL 14")
    site.rules("hostssl all all all scram-sha-256 clientcert=verify-ca clientname=DN")
    assert advised(site) == [(2, "unused_clientname")]
    assert site.connect(user="report", password="sesame") == "report"
    site.rules("hostssl all all all cert clientname=DN")
    assert advised(site) == [(2, "dn_without_map")]
    assert "authentication failed" in site.connect()


def test_a_distinguished_name_that_is_written_otherwise_maps_nobody(site: Site) -> None:
    if visitors.of_server(site.cluster.port, site.cluster.socket_directory, "postgres").facts.major < 14:
        pytest.skip("clientname needs PostgreSQL 14")
    for name, told, answer in (("app", [(2, "no_dn")], "authentication failed"), ("CN=app", [], "app")):
        site.cluster.write("pg_ident.conf", f"people {name} app\n")
        site.rules("hostssl all all all cert clientname=DN map=people")
        assert advised(site) == told
        assert answer in site.connect().splitlines()[-1]


def test_without_authorities_no_certificate_lets_anybody_in(site: Site) -> None:
    site.setting("ssl_ca_file = ''")
    expected = [] if site.cluster.psql("SHOW server_version_num") >= "190000" else [(2, "no_ca")]
    assert advised(site) == expected
    assert "root certificate store" in site.connect() + site.cluster.log()


def test_a_map_that_is_missing_lets_nobody_in(site: Site) -> None:
    site.rules("hostssl all all all cert map=people")
    assert advised(site) == [(2, "unknown_map")]
    assert "authentication failed" in site.connect()


def test_a_run_that_changes_rules_warns_of_its_own_and_one_that_changes_none_does_not(managed: Server) -> None:
    managed.cluster.hba("host all all all reject", "hostssl all report all cert")
    rules = f"hostssl all report all trust clientcert=verify-ca\n{HBA}hostssl all app samehost reject\n"
    for check_mode in (True, False):
        told = [one for one in managed.converge(hba=rules, check_mode=check_mode).warnings if "pg_hba.conf" in one]
        assert [one.partition(": ")[0].rpartition("/")[2] for one in told] == [
            "pg_hba.conf line 3",
            "pg_hba.conf line 7",
        ]
        assert "any certificate from an authority" in told[0]
        assert told[1].endswith("Move it before those lines, or remove it.")
    assert managed.converge(hba=rules).warnings == []
    assert managed.converge(hba=HBA).warnings == []
