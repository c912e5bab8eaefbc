# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds on a fleet that the whole job was run on."""

from __future__ import annotations

from typing import Any

import pytest

SERVERS, CLIENTS = ("pg15", "pg17"), ("app1", "app2")
TLS = "/etc/postgresql/tls/5432/current"
HOME_FILES = "/home/web/.postgresql"


@pytest.fixture(scope="module")
def second_run(fleet: Any) -> dict[str, Any]:
    """Run the job again; return what was before, what was after, and the run."""
    before = {"reloads": fleet.reloads(), "keys": fleet.keys()}
    run = fleet.playbook()
    return {"before": before, "after": {"reloads": fleet.reloads(), "keys": fleet.keys()}, "run": run}


def test_a_second_run_changes_nothing(second_run: dict[str, Any]) -> None:
    run = second_run["run"]
    assert run.status == 0, run.output
    assert run.changed == dict.fromkeys((*SERVERS, *CLIENTS), 0)


def test_a_second_run_reloads_no_server(second_run: dict[str, Any]) -> None:
    assert second_run["after"]["reloads"] == second_run["before"]["reloads"]


def test_a_second_run_leaves_the_keys_files_alone(second_run: dict[str, Any]) -> None:
    keys = second_run["before"]["keys"]
    assert all(listing.count(".key ") >= 1 for listing in keys.values()), keys
    assert second_run["after"]["keys"] == keys


def test_a_second_run_is_one_execution_per_server_and_one_more_per_client_to_verify(second_run: dict[str, Any]) -> None:
    assert second_run["run"].executions == {"pg15": 1, "pg17": 1, "app1": 2, "app2": 2}


def test_check_mode_on_a_converged_fleet_foresees_no_change(fleet: Any) -> None:
    run = fleet.playbook("--check", "--diff")
    assert run.status == 0, run.output
    assert run.changed == dict.fromkeys((*SERVERS, *CLIENTS), 0)


@pytest.mark.parametrize("server", SERVERS)
def test_server_chains_satisfy_openssl_gnutls_and_strict_python(fleet: Any, server: str) -> None:
    root = fleet.output("app1", "cat", f"{HOME_FILES}/root.crt")
    fleet.inside(server, "tee", "/tmp/root.crt", stdin=root)
    chain = f"{TLS}/server.crt"
    verify = ["openssl", "verify", "-x509_strict", "-CAfile", "/tmp/root.crt", "-untrusted", chain]
    assert f"{chain}: OK" in fleet.output(server, *verify, "-purpose", "sslserver", chain)
    assert fleet.inside(server, *verify, "-purpose", "sslclient", chain).returncode != 0
    gnutls = ["certtool", "--verify", "--load-ca-certificate=/tmp/root.crt", f"--infile={chain}"]
    assert "Verified. The certificate is trusted" in fleet.output(server, *gnutls, "--verify-purpose=1.3.6.1.5.5.7.3.1")
    assert fleet.inside(server, *gnutls, "--verify-purpose=1.3.6.1.5.5.7.3.2").returncode != 0


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("server", SERVERS)
def test_strict_python_takes_what_the_server_sends(fleet: Any, client: str, server: str) -> None:
    script = (
        "import socket, ssl, struct\n"
        f"context = ssl.create_default_context(cafile='{HOME_FILES}/root.crt')\n"
        "context.verify_flags |= ssl.VERIFY_X509_STRICT\n"
        f"plain = socket.create_connection(('{server}.example.test', 5432))\n"
        "plain.sendall(struct.pack('!ii', 8, 80877103))\n"
        "assert plain.recv(1) == b'S'\n"
        f"print(context.wrap_socket(plain, server_hostname='{server}.example.test').version())\n"
    )
    assert fleet.output(client, "python3", "-c", script) == "TLSv1.3\n"


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("server", SERVERS)
def test_plain_psql_finds_its_files_by_itself(fleet: Any, client: str, server: str) -> None:
    target = f"host={server}.example.test user=app dbname=app sslmode=verify-full"
    done = fleet.psql(client, target, "SELECT version, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    assert done.stdout == "TLSv1.3|/CN=app\n", done.stderr


def test_a_second_role_of_an_os_user_is_a_service(fleet: Any) -> None:
    done = fleet.psql("app1", "service=report host=pg17 dbname=postgres", "SELECT current_user")
    assert done.stdout == "report\n", done.stderr


@pytest.mark.parametrize("server", SERVERS)
def test_scram_with_channel_binding_works_over_these_certificates(fleet: Any, server: str) -> None:
    secret = "password=a\\ password\\ of\\ the\\ test\\ fleet"
    target = f"host={server} user=scram dbname=postgres sslmode=verify-full channel_binding=require {secret}"
    assert fleet.psql("app1", target, "SELECT current_user").stdout == "scram\n"


def test_a_servers_certificate_logs_nobody_in(fleet: Any, request: pytest.FixtureRequest) -> None:
    pair = "sslcert=/tmp/s.crt sslkey=/tmp/s.key"
    request.addfinalizer(lambda: fleet.output("app1", "rm", "-f", "/tmp/s.crt", "/tmp/s.key"))
    for name in ("crt", "key"):
        content = fleet.output("pg15", "cat", f"{TLS}/server.{name}")
        fleet.inside("app1", "sh", "-c", f"umask 077; cat > /tmp/s.{name}; chown web /tmp/s.{name}", stdin=content)
    target = f"host=pg15 user=app dbname=app sslmode=verify-full sslrootcert={HOME_FILES}/root.crt"
    assert fleet.psql("app1", target).stdout == "1\n", "the same target works with the client's own certificate"
    refused = fleet.psql("app1", f"{target} {pair}")
    assert refused.returncode == 2
    assert "tlsv1 alert" in refused.stderr or "certificate" in refused.stderr, refused.stderr


def test_a_clients_certificate_serves_nobody(fleet: Any) -> None:
    serve = [
        "openssl",
        "verify",
        "-x509_strict",
        "-CAfile",
        f"{HOME_FILES}/root.crt",
        "-untrusted",
        f"{HOME_FILES}/postgresql.crt",
    ]
    refused = fleet.inside("app1", *serve, "-purpose", "sslserver", f"{HOME_FILES}/postgresql.crt")
    assert refused.returncode != 0


def test_files_have_the_owners_and_modes_that_postgresql_and_libpq_want(fleet: Any) -> None:
    show = ["stat", "-L", "-c", "%U %a"]
    assert fleet.output("pg15", *show, f"{TLS}/server.key") == "postgres 600\n"
    assert fleet.output("app1", *show, f"{HOME_FILES}/postgresql.key") == "web 600\n"


@pytest.mark.parametrize("server", SERVERS)
def test_a_restart_serves_the_same_certificate(fleet: Any, server: str) -> None:
    before = fleet.served(server)
    fleet.output(server, "pg_ctlcluster", server[2:], "main", "restart")
    assert fleet.served(server) == before
