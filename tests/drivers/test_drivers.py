# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients that are libpq, and clients that are not: each logs in with the files on disk, and refuses what is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pytest
from ansible_collections.pgops.tls.tests.drivers.conftest import ALIAS, DRIVERS, OLD, SERVER

ASK = (
    "SELECT 'ok ' || current_user || ' ' || coalesce(client_serial::text, 'none') "
    "FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
)
CURRENT = "/home/web/.postgresql/pgops/current"
HOST = f"{SERVER}.example.test"
JARS = "/usr/local/lib/drivers:/usr/share/java/postgresql.jar"
PROGRAMS = "/usr/local/lib/drivers"


class Case(NamedTuple):
    """What differs from a connection that works, and what clients say then; '' for one that must work."""

    changes: Mapping[str, str]
    refusal: str = ""


NOT_TRUSTED = "verify|unknown authority|PKIX path|self-signed|SELF_SIGNED|UNABLE_TO_"
CASES = {
    "accepted": Case({}),
    "wrong root": Case({"root": "/home/web/other.crt"}, NOT_TRUSTED),
    "wrong name": Case({"host": ALIAS}, "does not match|not valid for|is valid for|could not be verified|ALTNAME"),
    "no certificate": Case({"own": ""}, "requires a valid client certificate"),
    # With TLS 1.3 some clients see only that the connection ends. So the server's log has to say it, too
    "revoked": Case(
        {"own": OLD, "role": "gone"}, "revoked|alert|reset|closed|EOF|[Bb]roken pipe|terminated|unexpected"
    ),
}


class Client(NamedTuple):
    """A host, and what makes the command line of a connection there: host, roots, directory of the own files, role."""

    host: str
    argv: Callable[[str, str, str, str], list[str]]


def pem(host: str, root: str, own: str, role: str) -> dict[str, str]:
    """Return libpq's parameters. A missing file is no certificate for libpq, which looks at its default names."""
    found = {"host": host, "dbname": "app", "user": role, "sslmode": "verify-full", "sslrootcert": root}
    if own:
        found.update(sslcert=f"{own}/postgresql.crt", sslkey=f"{own}/postgresql.key")
    return found


def conninfo(*given: str) -> str:
    return " ".join(f"{name}={value}" for name, value in pem(*given).items())


def python(driver: str) -> Callable[..., list[str]]:
    return lambda *given: ["python3", f"{PROGRAMS}/connect.py", driver, json.dumps(pem(*given))]


def go(driver: str) -> Callable[..., list[str]]:
    return lambda *given: [f"{PROGRAMS}/connect-go", driver, conninfo(*given)]


def by_environment(*program: str) -> Callable[..., list[str]]:
    """Return what starts a program with the variables on disk, and with what differs from them."""

    def argv(host: str, root: str, own: str, role: str) -> list[str]:
        given = {"PGHOST": host, "PGUSER": role, "PGSSLROOTCERT": root}
        script = f"set -a; . {CURRENT}/app/environment; " + "; ".join(
            f"{name}={value}" for name, value in given.items()
        )
        pair = f"PGSSLCERT={own}/postgresql.crt; PGSSLKEY={own}/postgresql.key" if own else "unset PGSSLCERT PGSSLKEY"
        return ["sh", "-c", f'{script}; {pair}; exec "$@"', "sh", *program]

    return argv


def jdbc(key: str) -> Callable[..., list[str]]:
    def argv(host: str, root: str, own: str, role: str) -> list[str]:
        parameters = f"user={role}&sslmode=verify-full&sslrootcert={root}&loginTimeout=20"
        files = f"&sslkey={own}/{key}" + (f"&sslcert={own}/postgresql.crt" if key.endswith("pk8") else "&sslpassword=")
        url = f"jdbc:postgresql://{host}/app?{parameters}{files if own else ''}"
        password = f"$(cat {own}/{key}.password)" if own and key.endswith("p12") else ""
        return ["sh", "-c", f'exec java -cp {JARS} Connect "$1{password}"', "sh", url]

    return argv


def jvm(host: str, root: str, own: str, role: str) -> list[str]:
    """Return a command in which the JVM itself has keystore and truststore. Without the latter it has public roots."""
    trusts = f"-Djavax.net.ssl.trustStore={CURRENT}/truststore.p12" if root.startswith(CURRENT) else ""
    word = f"-Djavax.net.ssl.keyStorePassword=$(cat {own}/postgresql.p12.password)"
    keys = f"-Djavax.net.ssl.keyStore={own}/postgresql.p12 {word}" if own else ""
    factory = "sslfactory=org.postgresql.ssl.DefaultJavaSSLFactory"
    url = f"jdbc:postgresql://{host}/app?user={role}&sslmode=verify-full&{factory}&loginTimeout=20"
    return ["sh", "-c", f'exec java {trusts} {keys} -cp {JARS} Connect "$1"', "sh", url]


PSQL = {f"psql {version}": DRIVERS if version == 17 else f"psql{version}" for version in range(13, 20)}
CLIENTS = {
    **{name: Client(host, lambda *given: ["psql", "-XAtc", ASK, conninfo(*given)]) for name, host in PSQL.items()},
    "psql 17, environment": Client(DRIVERS, by_environment("psql", "-XAtc", ASK)),
    "psycopg 3": Client(DRIVERS, python("psycopg")),
    "asyncpg": Client(DRIVERS, python("asyncpg")),
    "asyncpg, environment": Client(DRIVERS, by_environment("python3", f"{PROGRAMS}/connect.py", "asyncpg", "")),
    "pg8000": Client(DRIVERS, python("pg8000")),
    "node-postgres": Client(DRIVERS, lambda *given: ["node", f"{PROGRAMS}/connect.js", json.dumps(pem(*given))]),
    "pgx": Client(DRIVERS, go("pgx")),
    "pgx, environment": Client(DRIVERS, by_environment(f"{PROGRAMS}/connect-go", "pgx", "")),
    "lib/pq": Client(DRIVERS, go("lib/pq")),
    "pgjdbc, pk8": Client(DRIVERS, jdbc("postgresql.pk8")),
    "pgjdbc, PKCS#12": Client(DRIVERS, jdbc("postgresql.p12")),
    "JVM, PKCS#12, truststore": Client(DRIVERS, jvm),
}


def attempt(fleet: Any, client: Client, changes: Mapping[str, str]) -> str:
    given = {"host": HOST, "root": f"{CURRENT}/root.crt", "role": "app", **changes}
    own = given.get("own", f"{CURRENT}/{given['role']}")
    return str(fleet.connect(client.host, client.argv(given["host"], given["root"], own, given["role"])))


def refused_revoked(fleet: Any) -> int:
    """Return how often the server has refused a revoked certificate."""
    return int(fleet.inside(SERVER, "sh", "-c", "grep -c 'certificate revoked' /var/log/postgresql/*-main.log || true"))


@pytest.fixture(scope="module")
def set_up(fleet: Any) -> Any:
    """Set all up, keep the files of a role, and see that they work before they are revoked."""
    first = fleet.site()
    assert first.status == 0, first.output[-5000:]
    fleet.keep()
    before = {name: attempt(fleet, client, CASES["revoked"].changes) for name, client in CLIENTS.items()}
    serials = {host: fleet.serial(host, "gone") for host in {client.host for client in CLIENTS.values()}}
    assert before == {name: f"ok gone {serials[client.host]}" for name, client in CLIENTS.items()}
    second = fleet.site(postgres_ca_revoked=[{"serial": f"{one:x}"} for one in serials.values()])
    assert second.status == 0, second.output[-5000:]
    return fleet


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_does_what_it_has_to(set_up: Any, cells: dict[tuple[str, str], str], name: str, case: str) -> None:
    client, wanted = CLIENTS[name], CASES[case]
    cells[name, case] = "WRONG"
    seen = refused_revoked(set_up)
    said = attempt(set_up, client, wanted.changes)
    if wanted.refusal:
        assert not said.startswith("ok"), said
        assert re.search(wanted.refusal, said), said
    else:
        assert said == f"ok app {set_up.serial(client.host, 'app')}"
    assert refused_revoked(set_up) - seen == (case == "revoked"), "by the server, and by no other reason"
    cells[name, case] = "refused" if wanted.refusal else "ok"


@pytest.mark.parametrize("name", PSQL)
def test_psql_and_the_libpq_that_it_has_loaded_are_of_the_version_that_the_grid_says(set_up: Any, name: str) -> None:
    """The psql of a row, connected as in its row, says what it is; its process shows what it has loaded."""
    host, version = PSQL[name], int(name.removeprefix("psql "))
    loaded = r"\! grep -o '/[^ ]*/lib\(pq\|ssl\)\.so[^ ]*' /proc/$PPID/maps | sort -u"
    given = conninfo(HOST, f"{CURRENT}/root.crt", f"{CURRENT}/app", "app")
    said = set_up.connect(host, ["psql", "-XAt", "-c", r"\echo :VERSION_NUM", "-c", ASK, "-c", loaded, given])
    number, *answer, library, ssl = said.split()
    assert int(number) // 10000 == version
    assert answer == ["ok", "app", str(set_up.serial(host, "app"))], "by TLS"
    assert "libssl" in ssl
    ask = f"import ctypes; print(ctypes.CDLL({library!r}).PQlibVersion())"
    assert int(set_up.inside(host, "python3", "-c", ask)) // 10000 == version


@pytest.mark.parametrize(
    ("host", "lines"),
    [
        ("psql13", set()),
        ("psql14", set()),
        ("psql15", set()),
        ("psql16", {"sslcertmode=require", "require_auth=none"}),
        (DRIVERS, {"sslcertmode=require", "require_auth=none", "sslnegotiation=direct"}),
        ("psql19", {"sslcertmode=require", "require_auth=none", "sslnegotiation=direct"}),
    ],
)
def test_services_have_what_libpq_of_the_host_knows(set_up: Any, host: str, lines: set[str]) -> None:
    found = set_up.inside(host, "cat", "/home/web/.pg_service.conf").split(f"[app@{SERVER}]\n")[1].partition("\n[")[0]
    added = ("sslcertmode", "require_auth", "channel_binding", "sslnegotiation")
    assert {line for line in found.splitlines() if line.startswith(added)} == lines
    done = set_up.execute(host, "psql", "-XAtc", ASK, f"service=app@{SERVER}", user="web", home="/home/web")
    assert done.stdout == f"ok app {set_up.serial(host, 'app')}\n", done.stderr
