# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the README of a kit says is run as it is, from the unpacked kit, against a server."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import signing
from ansible_collections.pgops.tls.tests import calls
from ansible_collections.pgops.tls.tests.kits import PASSWORD, Place, csr
from ansible_collections.pgops.tls.tests.servers import TODAY, Server
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

JAR = Path("/usr/share/java/postgresql.jar")
GO = Path("/usr/local/lib/drivers/connect-go")  # of the image for "make clients": pgx 4, which takes the same URL
SERIAL = "SELECT client_serial FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


@pytest.fixture
def place(tmp_path: Path, server: Server) -> Place:
    """Give authorities, and a server that has its certificate from them and trusts their clients."""
    found = Place(tmp_path, now=TODAY)
    found.keep()
    own, clients = found.authorities["server"], found.authorities["client"]
    server.options.update(roots=own["roots"], issuing=own["issuing"], trusted_clients=clients["bundle"])
    asked = {"id": "db1", "csr": server.converge().request, "names": ["localhost", "127.0.0.1"]}
    order = signing.Order(str(found.ca), None, "server", [asked], "90d")
    server.converge(certificate=signing.sign(order, TODAY, is_dry=False).certificates["db1"])
    return found


def kit(place: Place, server: Server, **changes: Any) -> dict[str, Any]:
    """Return a kit that reaches the server."""
    endpoint = {"server": "db1", "host": "localhost", "port": server.cluster.port}
    return place.kit(role="app", databases=["postgres"], endpoints=[endpoint], **changes)


def unpacked(place: Place, commands: str) -> Path:
    """Do what the README says first, and return the folder."""
    subprocess.run(["sh", "-ec", f"cd {place.directory}; {commands}; pwd"], check=True, capture_output=True)
    return place.directory / "anna"


def example(folder: Path, name: str) -> str:
    """Return what the README has for a driver, without its indentation."""
    text = (folder / "README.txt").read_text()
    found = re.search(rf"^{name}:\n\n((?:    .*\n)+)", text, re.MULTILINE)
    assert found
    return re.sub(r"^    ", "", found[1], flags=re.MULTILINE)


def run(folder: Path, *argv: str, stdin: str = "") -> str:
    """Return what a program prints in the folder of a kit."""
    environment = {**os.environ, "KIT_PASSWORD": PASSWORD}
    done = subprocess.run(
        argv, cwd=folder, input=stdin, capture_output=True, text=True, env=environment, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def psql(folder: Path, text: str) -> str:
    """Run the line on a terminal, and type the password if it is asked for."""
    command = f"{text.strip()} -P pager=off -AtXc '{SERIAL}'"
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.execvp("sh", ["sh", "-c", command])  # noqa: S606
    printed = b""
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:
            break
        printed += part
        if part.rstrip().endswith(b":"):
            os.write(terminal, PASSWORD.encode() + b"\n")
    os.waitpid(child, 0)
    return printed.decode().strip().splitlines()[-1]


def python(folder: Path, text: str) -> str:
    program = f'{text}\nprint(connection.execute("{SERIAL}").fetchone()[0])'
    return run(folder, interpreter("psycopg"), "-", stdin=program)


def asynchronous(folder: Path, text: str) -> str:
    inner = f'{text}\nprint(await connection.fetchval("{SERIAL}"))\nawait connection.close()'
    lines = "".join(f"    {line}\n" for line in inner.splitlines())
    program = f"async def main():\n{lines}\nimport asyncio\nasyncio.run(main())"
    return run(folder, interpreter("asyncpg"), "-", stdin=program)


def interpreter(module: str) -> str:
    """Return a Python that has a module."""
    for path in (sys.executable, *(f"{one}/python3" for one in os.environ["PATH"].split(":"))):
        if (
            os.access(path, os.X_OK)
            and subprocess.run([path, "-c", f"import {module}"], capture_output=True, check=False).returncode == 0
        ):
            return path
    return str(pytest.skip(f"no Python has {module}"))


def node(folder: Path, text: str) -> str:
    has_driver = ["node", "-e", 'require("pg")']
    if not shutil.which("node") or subprocess.run(has_driver, capture_output=True, check=False).returncode != 0:
        pytest.skip("no node-postgres")
    query = f'console.log((await client.query("{SERIAL}")).rows[0].client_serial); await client.end();'
    return run(folder, "node", "-", stdin=f"(async () => {{ {text}\n{query} }})()")


def java(folder: Path, text: str) -> str:
    if not (shutil.which("javac") and JAR.exists()):
        pytest.skip("no JVM with pgjdbc")
    once = re.match(r"// once: (.*)\n", text)
    if once:
        run(folder, "sh", "-c", once[1])
    query = f'var found = connection.createStatement().executeQuery("{SERIAL}"); found.next();'
    (folder / "Main.java").write_text(
        "import java.sql.*; import java.util.Properties;\n"
        f"class Main {{ public static void main(String[] none) throws Exception {{\n{text}\n"
        f"{query} System.out.println(found.getString(1)); }} }}\n"
    )
    return run(folder, "java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", str(JAR), "Main.java")


def go(folder: Path, text: str) -> str:
    if not GO.exists():
        pytest.skip("no pgx")
    once, url = re.search(r"// once, .*: (openssl .*)\n", text), re.search(r'"(postgres://.*)"', text)
    if once:
        run(folder, "sh", "-c", once[1])
    assert url
    return run(folder, str(GO), "pgx", url[1]).split()[-1]


RUN: dict[str, Callable[[Path, str], str]] = {
    "psql": psql,
    "psycopg": python,
    "asyncpg": asynchronous,
    "node-postgres": node,
    "JDBC": java,
    "pgx": go,
}


@pytest.mark.parametrize("name", RUN)
def test_the_line_of_a_driver_connects(place: Place, server: Server, name: str) -> None:
    (made,) = place.make(kit(place, server)).kits
    folder = unpacked(place, "python3 -m zipfile -e anna.zip .; chmod 600 anna/postgresql.key")
    assert int(RUN[name](folder, example(folder, name))) == int(made["serial"], 16)


@pytest.mark.parametrize("name", RUN)
def test_the_line_of_a_driver_connects_with_the_key_of_the_person(place: Place, server: Server, name: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    (made,) = place.make(kit(place, server, csr=csr(key))).kits
    folder = unpacked(place, "python3 -m zipfile -e anna.zip .")
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "own.key").touch(0o600)
    (folder / "own.key").write_bytes(key.private_bytes(*form))
    assert int(RUN[name](folder, example(folder, name))) == int(made["serial"], 16)


def test_what_go_and_rust_need_is_decrypted_as_the_readme_says(place: Place, server: Server) -> None:
    place.make(kit(place, server))
    folder = unpacked(place, "python3 -m zipfile -e anna.zip .; chmod 600 anna/postgresql.key")
    commands = {re.search(r"// once, .*: (openssl .*)\n", example(folder, name))[1] for name in ("pgx", "sqlx")}  # type: ignore[index]
    (command,) = commands
    run(folder, "sh", "-c", command)
    assert (folder / "own.key").stat().st_mode & 0o777 == 0o600
    (url,) = {re.search(r'"(postgres://.*)"', example(folder, name))[1] for name in ("pgx", "sqlx")}  # type: ignore[index]
    assert run(folder, "psql", url, "-AtXc", "SELECT 1") == "1", "libpq reads this URL, too"


def test_the_module_shows_no_password(place: Place, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    options = {**place.options(kit(place, server)), "lifetime": "90d"}
    given = {key: value for key, value in options.items() if value is not None and key != "sources"}
    result, written = calls.called("client_kit", capsys, given)
    assert result["changed"]
    assert result["summary"][0].startswith(f"anna: hand out {place.directory}/anna.zip (role app, serial number ")
    assert "made here" in result["summary"][0]
    assert PASSWORD not in written
    again, _written = calls.called("client_kit", capsys, given)
    assert (again["changed"], again["summary"]) == (False, [])
    bad, written = calls.called("client_kit", capsys, {**given, "kits": [kit(place, server, name="a b")]})
    assert (bad["code"], PASSWORD in written) == ("kit_name_invalid", False)
