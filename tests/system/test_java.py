# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs in Java that log in with the files on disk as they are, and keytool, which opens them."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.pgops.tls.tests import guides
from ansible_collections.pgops.tls.tests.clients import OTHER, Clients, User, identity
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, Server, lists
from ansible_collections.pgops.tls.tests.shared import ROOT
from cryptography import x509

PROGRAMS = ROOT / "tests" / "java"
JARS = {name: Path("/usr/share/java") / f"{name}.jar" for name in ("postgresql", "HikariCP", "slf4j-api", "slf4j-nop")}
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make OS users"),
    pytest.mark.skipif(not (shutil.which("javac") and JARS["postgresql"].exists()), reason="no JVM with pgjdbc"),
]
FORMATS = ["pem", "pk8", "pkcs12", "truststore"]


@pytest.fixture(scope="module")
def built() -> Iterator[Path]:
    """Compile the programs once."""
    folder = Path(tempfile.mkdtemp(prefix="pgtls-", dir="/tmp"))
    try:
        folder.chmod(0o755)
        sources = map(str, sorted(PROGRAMS.glob("*.java")))
        subprocess.run(["javac", "-nowarn", "-cp", _jars(), "-d", folder, *sources], check=True, capture_output=True)
        yield folder
    finally:
        shutil.rmtree(folder)


def _jars() -> str:
    return ":".join(map(str, JARS.values()))


def java(user: User, built: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Few threads and little memory: the machine has other tests to run
    return user.run("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{built}:{_jars()}", *arguments)


@pytest.fixture
def ready(clients: Clients, alice: User, server: Server) -> Server:
    """Give a server and an OS user with all formats."""
    server.settle()
    clients.options["identities"] = [{**identity(alice, "app", "postgres"), "formats": FORMATS}]
    clients.converge()
    return server


def url(server: Server, **parameters: object) -> str:
    given = {"user": "app", "sslmode": "verify-full", "loginTimeout": "20", **parameters}
    host = given.pop("host", "localhost")
    text = "&".join(f"{name}={value}" for name, value in given.items())
    return f"jdbc:postgresql://{host}:{server.cluster.port}/postgres?{text}"


def files(user: User, *, key: str = "postgresql.pk8") -> dict[str, object]:
    """Return the parameters of pgjdbc that name the files."""
    current = user.store / "current"
    found: dict[str, object] = {"sslkey": current / "app" / key, "sslrootcert": current / "root.crt"}
    if key.endswith(".p12"):
        return {**found, "sslpassword": (current / "app" / "postgresql.p12.password").read_text()}
    return {**found, "sslcert": current / "app" / "postgresql.crt"}


def serial(user: User) -> int:
    pem = (user.store / "current" / "app" / "postgresql.crt").read_bytes()
    return x509.load_pem_x509_certificate(pem).serial_number


def test_pgjdbc_logs_in_with_the_files_as_they_are(ready: Server, alice: User, built: Path) -> None:
    other = alice.write("other.crt", OTHER.root.pem)
    p12 = files(alice, key="postgresql.p12")
    done = java(
        alice,
        built,
        "Connect",
        url(ready),
        url(ready, **files(alice)),
        url(ready, **p12),
        url(ready, **{**p12, "sslpassword": "another"}),
        url(ready, **{**files(alice), "sslrootcert": other}),
        url(ready, host="127.1", **files(alice)),
        url(ready, **{**files(alice), "sslcert": alice.home / "none.crt"}),
        url(ready, **{**files(alice), "user": "postgres"}),
    )
    said = done.stdout.splitlines()
    assert said[:3] == [f"ok app {serial(alice)}"] * 3, done
    reasons = ("X.509", "PKIX path", "127.1 could not be verified", "Could not open SSL certificate", "no password was")
    for line, why in zip(said[3:], reasons):
        assert line.startswith("failed: ")
        assert why in line
    assert len(said) == 8


def test_a_revoked_certificate_does_not_let_java_in(ready: Server, alice: User, built: Path) -> None:
    ready.options["crls"] = lists("client", serial(alice))
    ready.settle()
    done = java(alice, built, "Connect", url(ready))
    assert done.stdout.startswith("failed: ")
    assert "certificate verify failed" in ready.cluster.log(), "pgjdbc may see only a connection that ends"


def test_a_jvm_takes_key_and_roots_from_keystore_and_truststore(ready: Server, alice: User, built: Path) -> None:
    current = alice.store / "current"
    password = (current / "app" / "postgresql.p12.password").read_text()
    keys = [f"-Djavax.net.ssl.keyStore={current}/app/postgresql.p12", f"-Djavax.net.ssl.keyStorePassword={password}"]
    trusts = f"-Djavax.net.ssl.trustStore={current}/truststore.p12"
    by_jvm = url(ready, sslfactory="org.postgresql.ssl.DefaultJavaSSLFactory")
    assert java(alice, built, *keys, trusts, "Connect", by_jvm).stdout == f"ok app {serial(alice)}\n"
    with_any = trusts, "-Djavax.net.ssl.trustStorePassword=changeit"
    assert java(alice, built, *keys, *with_any, "Connect", by_jvm).stdout == f"ok app {serial(alice)}\n"
    assert "PKIX path" in java(alice, built, *keys, "Connect", by_jvm).stdout, "by the truststore alone"
    assert "valid client certificate" in java(alice, built, trusts, "Connect", by_jvm).stdout, "by the keystore alone"


def keytool(store: Path, password: str) -> str:
    argv = ["keytool", "-J-Duser.language=en", "-list", "-v", "-keystore", str(store), "-storepass", password]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def test_keytool_lists_key_chain_and_every_root(clients: Clients, alice: User) -> None:
    roots = AUTHORITIES["server"].root.pem + OTHER.root.pem
    clients.options["identities"] = [{**identity(alice, "app"), "formats": FORMATS}]
    clients.converge(roots=roots)
    current = alice.store / "current"
    password = (current / "app" / "postgresql.p12.password").read_text()
    kept = keytool(current / "app" / "postgresql.p12", password)
    assert "Alias name: user\n" in kept
    assert "Entry type: PrivateKeyEntry\nCertificate chain length: 2\n" in kept
    trusted = keytool(current / "truststore.p12", "any-password")
    assert trusted.count("Entry type: trustedCertEntry") == 2
    for root in (AUTHORITIES["server"].root, OTHER.root):
        assert f"Alias name: {root.common_name} {root.sha256[:8]}".lower() in trusted.lower()


def test_commands_of_the_guide(clients: Clients, alice: User) -> None:
    clients.options["identities"] = [{**identity(alice, "app"), "formats": FORMATS}]
    clients.converge()
    page = guides.FOLDER / "guide_java.rst"
    blocks = [one for one in guides.blocks(page.name, page.read_text()) if one.tests()]
    [trusts, keeps] = [alice.run("sh", "-c", command) for one in blocks for command, _output in one.commands()]
    assert "trustedCertEntry" in trusts.stdout, trusts
    assert "user, " in keeps.stdout, keeps
    assert "PrivateKeyEntry" in keeps.stdout


def test_java_shows_a_certificate_of_every_type_of_key(
    ready: Server, clients: Clients, alice: User, built: Path
) -> None:
    for key_type in ("P-384", "RSA-3072", "Ed25519"):
        clients.converge(key_type=key_type)
        done = java(alice, built, "Connect", url(ready), url(ready, **files(alice, key="postgresql.p12")))
        assert done.stdout.splitlines() == [f"ok app {serial(alice)}"] * 2, key_type


# A pool through a renewal


@pytest.fixture
def pool(ready: Server, alice: User, built: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a program with a pool of connections as alice."""
    alice.write("go", "")
    command = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{built}:{_jars()}", "Pool"]
    account = pwd.getpwnam(alice.name)
    with subprocess.Popen(
        [*command, str(alice.home / "go"), url(ready)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[],
        env={"PATH": os.environ["PATH"], "HOME": account.pw_dir},
    ) as running:
        try:
            alice.write("pid", str(running.pid))
            yield running
        finally:
            running.kill()


def test_a_pool_follows_a_renewal_by_after_change_without_a_failed_checkout(
    clients: Clients, alice: User, pool: subprocess.Popen[str], ready: Server
) -> None:
    assert pool.stdout is not None
    assert pool.stdout.readline() == "ready\n"
    old, [own] = serial(alice), clients.options["identities"]
    time.sleep(1.0)
    hook = {"command": ["sh", "-c", f"kill -HUP $(cat {alice.home}/pid)"]}
    clients.options["identities"] = [{**own, "after_change": hook}]
    done = clients.converge(renew=True)
    assert done["changes"][-1] == f"{alice.name}/app: after_change: command sh succeeded"
    new = serial(alice)
    deadline = time.monotonic() + 10.0
    ask = "SELECT string_agg(DISTINCT client_serial::text, ' ') FROM pg_stat_ssl WHERE client_serial IS NOT NULL"
    while ready.cluster.psql(ask) != str(new) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert ready.cluster.psql(ask) == str(new)
    (alice.home / "go").unlink()
    said = dict(line.split(" ", 1)[::-1] for line in pool.communicate(timeout=30)[0].splitlines())
    assert set(said) == {f"serial {old}", f"serial {new}"}, said
    assert all(int(count) > 20 for count in said.values())
