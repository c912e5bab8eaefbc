# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file of libpq's variables, also in a unit of systemd, and services that take one way of logging in."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.verification import libpq
from ansible_collections.pgops.tls.tests import guides
from ansible_collections.pgops.tls.tests.clients import Clients, User, identity
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, Server, revocation_list

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make OS users")
ASK = "SELECT client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
UNIT = Path("/run/systemd/system/pgtls-shop.service")


def declare(clients: Clients, alice: User, port: int = 5432, *formats: str) -> None:
    endpoint = {"server": "db1", "host": "localhost", "port": port}
    own = {**identity(alice, "app", "postgres"), "formats": list(formats) or ["environment"], "endpoints": [endpoint]}
    clients.options["identities"] = [own]


def variables(alice: User) -> dict[str, str]:
    text = (alice.store / "current" / "app" / "environment").read_text()
    return dict(line.split("=", 1) for line in text.splitlines())


def test_the_file_belongs_to_the_generation_and_stays_as_it_is_through_a_renewal(clients: Clients, alice: User) -> None:
    declare(clients, alice)
    clients.converge()
    path, current = alice.store / "current" / "app" / "environment", alice.store / "current"
    assert variables(alice) == {
        "PGUSER": "app", "PGDATABASE": "postgres", "PGHOST": "localhost", "PGPORT": "5432",
        "PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(current / "root.crt"),
        "PGSSLCERT": str(current / "app/postgresql.crt"), "PGSSLKEY": str(current / "app/postgresql.key"),
    }  # fmt: skip
    assert (path.stat().st_uid, oct(path.stat().st_mode & 0o7777)) == (alice.uid, "0o600")
    assert not clients.converge()["changed"]
    before = path.read_bytes()
    assert clients.converge(renew=True)["changed"]
    assert path.read_bytes() == before


def test_what_changes_is_said_and_done(clients: Clients, alice: User) -> None:
    declare(clients, alice)
    clients.converge()
    declare(clients, alice, 5433)
    assert f"{alice.name}/app: environment: changed" in clients.converge()["changes"]
    assert variables(alice)["PGPORT"] == "5433"
    lists = revocation_list(AUTHORITIES["server"]) + revocation_list(AUTHORITIES["server"], of_root=True)
    assert f"{alice.name}/app: environment: changed" in clients.converge(crls=lists)["changes"]
    assert variables(alice)["PGSSLCRL"] == str(alice.store / "current" / "root.crl")
    declare(clients, alice, 5433, "pem")
    assert f"{alice.name}/app: environment: removed" in clients.converge()["changes"]
    assert not (alice.store / "current" / "app" / "environment").exists()


@pytest.mark.parametrize("other", [{"login": "password"}, {"login": "none"}])
def test_what_has_no_use_for_it_is_refused(clients: Clients, alice: User, other: dict[str, str]) -> None:
    clients.options["identities"] = [{**identity(alice, "app"), "formats": ["environment"], **other}]
    with pytest.raises(TlsError, match=r"identities\[0\].*found .*environment"):
        clients.call()


def test_psql_needs_nothing_else(clients: Clients, alice: User, server: Server) -> None:
    server.settle()
    declare(clients, alice, server.cluster.port)
    clients.converge()
    path = alice.store / "current" / "app" / "environment"
    done = alice.run("sh", "-c", f'set -a; . {path}; HOME=/nonexistent exec psql -XAtc "{ASK}"')
    assert done.stdout == "/CN=app\n", done


@pytest.fixture
def unit(alice: User) -> Iterator[str]:
    """Install the unit of the guide for alice; return its name."""
    if not Path("/run/systemd/system").is_dir():
        pytest.skip("systemd does not run here")
    text = guides.example("shop.service").replace("/home/shop", str(alice.home))
    program = f"/usr/bin/psql -XAt -o {alice.home}/said -c '{ASK}'"
    text = text.replace("User=shop", f"User={alice.name}").replace("/usr/local/bin/shop", program)
    UNIT.write_text(text)
    try:
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        yield UNIT.name
    finally:
        subprocess.run(["systemctl", "stop", UNIT.name], check=False)
        UNIT.unlink()
        subprocess.run(["systemctl", "daemon-reload"], check=True)


def test_the_unit_of_the_guide_logs_in(clients: Clients, alice: User, server: Server, unit: str) -> None:
    server.settle()
    declare(clients, alice, server.cluster.port)
    clients.converge()
    subprocess.run(["systemctl", "start", unit], check=True)
    said, deadline = alice.home / "said", time.monotonic() + 20.0
    while not (said.exists() and said.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert said.read_text() == "/CN=app\n"


# Strict services

LIBPQ = libpq.load().major
SIXTEEN = pytest.mark.skipif(LIBPQ < 16, reason="this libpq knows only channel_binding")
NO_PLAINTEXT = "hostnossl all,replication all all reject\n"


def strict(clients: Clients, alice: User, server: Server, **more: object) -> None:
    """Give alice strict services for a server of a known version."""
    version = int(server.cluster.psql("SHOW server_version_num")) // 10000
    endpoint = {"server": "db1", "host": "localhost", "port": server.cluster.port, "version": version}
    own = {**identity(alice, "app", "postgres"), "formats": ["environment"], "endpoints": [endpoint]}
    clients.options["identities"] = [{**own, "strict_services": True, **more}]
    clients.converge()


def by_service(alice: User) -> subprocess.CompletedProcess[str]:
    return alice.run("psql", "-XAtc", ASK, "service=app@db1")


def test_a_strict_service_logs_in_by_the_certificate(clients: Clients, alice: User, server: Server) -> None:
    server.settle()
    strict(clients, alice, server)
    assert by_service(alice).stdout == "/CN=app\n", by_service(alice)
    is_direct = LIBPQ >= 17 and server.cluster.psql("SHOW server_version") >= "17"
    assert ("sslnegotiation=direct" in alice.service_file.read_text()) == is_direct
    assert not clients.converge()["changed"]
    assert variables(alice)["PGREQUIREAUTH"] == "none", "libpq ignores variables that it does not know"
    done = alice.run("sh", "-c", f'set -a; . {alice.store}/current/app/environment; exec psql -XAtc "{ASK}"')
    assert done.stdout == "/CN=app\n", done


@SIXTEEN
@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("hostssl all app all trust", None),
        ("hostssl all app all scram-sha-256", 'authentication method requirement "none" failed'),
        ("hostssl all app all password", 'authentication method requirement "none" failed'),
    ],
)
def test_a_strict_service_tells_no_server_a_password(
    clients: Clients, alice: User, server: Server, rule: str, message: str | None
) -> None:
    server.settle(hba=f"{rule}\n{NO_PLAINTEXT}", on_lockout="allow")
    strict(clients, alice, server)
    done = by_service(alice)
    assert (done.returncode == 0) == (message is None), done
    assert (message or "") in done.stderr


@pytest.mark.parametrize(
    ("method", "encryption"), [("scram-sha-256", "scram-sha-256"), ("password", "scram-sha-256"), ("md5", "md5")]
)
def test_a_strict_password_is_used_by_scram_alone(
    clients: Clients, alice: User, server: Server, method: str, encryption: str
) -> None:
    server.cluster.psql(f"SET password_encryption = '{encryption}'; ALTER ROLE app PASSWORD 'secret'")
    server.settle(hba=f"hostssl all app all {method}\n{NO_PLAINTEXT}", on_lockout="allow")
    strict(clients, alice, server, login="password", formats=["pem"])
    alice.write(".pgpass", "localhost:*:*:app:secret\n", 0o600)
    done = by_service(alice)
    assert (done.returncode == 0) == (method == "scram-sha-256"), done
    if done.returncode:
        assert re.search("channel binding required|authentication method requirement", done.stderr), done
