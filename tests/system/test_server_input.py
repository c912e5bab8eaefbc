# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server transaction refuses to begin with: bad options, settings and logins, clocks apart."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import profiles
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.server import convergence, transaction
from ansible_collections.pgops.tls.tests.servers import TODAY, Server


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": []}, "names: no names were given"),
        ({"names": ["a+b"]}, "names: 'a+b' is neither a DNS name nor an IP address"),
        ({"hba": "hostssl all app all\n"}, "line 1: the rule has no method"),
        ({"hba": "hostssl all app all cert clintname=DN\n"}, "method cert has no option 'clintname'"),
        ({"hba": "hostsl all app all cert\n"}, "type 'hostsl' is unknown"),
        ({"hba": "x" * 11000}, "hba line 1: "),  # a word that versions before 16 do not read
        ({"hba": "host all app all md5 clientcert=verify-full\n"}, "clientcert works only on hostssl"),
        ({"roots": "garbage"}, "roots: expected PEM certificates"),
        ({"directory": "relative"}, "expected an absolute path"),
        ({"renew_before": "soon"}, "renew_before: 'soon' is not a duration"),
    ],
)
def test_bad_options_are_refused_before_anything_changes(server: Server, options: dict[str, Any], message: str) -> None:
    disk = server.disk()
    with pytest.raises(TlsError) as failure:
        server.converge(**options)
    assert message in failure.value.message
    assert server.disk() == disk


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ssl_cihpers": "HIGH"}, "has no setting 'ssl_cihpers'"),
        ({"shared_buffers": "1GB"}, "has no setting 'shared_buffers'"),
        ({"ssl_min_protocol_version": "TLSv9"}, "expected one of"),
        ({"ssl_prefer_server_ciphers": "maybe"}, "expected on or off"),
        ({"ssl_cert_file": "/etc/x"}, "ssl_cert_file is set a second time"),
    ],
)
def test_bad_settings_are_refused_before_anything_changes(
    server: Server, settings: dict[str, str], message: str
) -> None:
    disk, server.ssl = server.disk(), settings
    with pytest.raises(TlsError) as failure:
        server.converge()
    assert message in failure.value.message
    assert server.disk() == disk


def test_a_role_that_is_no_superuser_is_named(server: Server) -> None:
    administrator = transaction.psql.locate(server.cluster.port, server.cluster.socket_directory, "app")
    with pytest.raises(TlsError, match="role 'app' is no superuser"):
        transaction.state.inspect(administrator)


def test_a_port_without_a_server_is_named_with_the_places_searched() -> None:
    with pytest.raises(TlsError, match=r"no socket \.s\.PGSQL\.1 in /var/run/postgresql"):
        transaction.psql.locate(1, None, None)


def test_a_stopped_server_is_named(server: Server) -> None:
    server.cluster.stop("fast")
    with pytest.raises(TlsError, match=r"No PostgreSQL server was found|psql as OS user"):
        server.converge()


def test_clocks_too_far_apart_stop_the_run() -> None:
    with pytest.raises(TlsError, match="301 s ahead of the controller's"):
        convergence.clock.refuse_skew(TODAY + 301, TODAY)


def test_profiles_backdate_by_what_the_clocks_may_differ() -> None:
    assert profiles.BACKDATED == convergence.clock.TOLERANCE
