# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom libpq and PostgreSQL trust, and by which names: what options take is what the real ones take."""

from __future__ import annotations

import datetime
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.client import convergence, target
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import wire
from ansible_collections.pgops.tls.plugins.module_utils.verification.endpoint import Wanted, probe
from ansible_collections.pgops.tls.tests import anchors
from ansible_collections.pgops.tls.tests.anchors import SelfSigned, self_signed
from ansible_collections.pgops.tls.tests.clients import Clients, User
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY, Server
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

NAME = "db_1.example.com"
OWN = self_signed("debian", NAME)
KINDS = {
    "like ssl-cert-snakeoil": OWN,
    "no basic constraints": self_signed("debian", NAME, is_ca=None),
    "names its key": self_signed("debian", NAME, names_key=True),
}
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make OS users")


@pytest.fixture
def elsewhere(server: Server, client_authority: Any) -> Server:
    """Return a server outside the inventory; ``serve`` gives it a certificate."""
    server.cluster.hba("hostssl all app all trust")
    serve(server, OWN, client_authority.root)
    return server


def serve(server: Server, one: SelfSigned, trusted: Path) -> None:
    """Let a server show a certificate."""
    paths = [server.cluster.home / name for name in ("it.crt", "it.key")]
    for path, text in zip(paths, one):
        path.write_text(text)
    server.cluster.serve(*paths, trusted)
    server.cluster.append("postgresql.conf", "ssl_ca_file = ''\n")  # it asks nobody for a certificate
    server.cluster.reload()


def where(server: Server, name: str = NAME) -> str:
    return f"host={name} hostaddr=127.0.0.1 port={server.cluster.port} user=app dbname=postgres sslmode=verify-full"


def log_in(server: Server, user: User) -> str:
    """Return what psql of an OS user says, which has nothing but the files at their default places."""
    done = user.run(str(server.cluster.programs / "psql"), "-XAtw", "-d", where(server), "-c", "SELECT current_user")
    return done.stdout + done.stderr


def warnings(clients: Clients) -> list[str]:
    wanted = target.read(clients.options, TODAY)
    return convergence.converge(wanted, TODAY, float(TODAY), check_mode=True).warnings


def trust(clients: Clients, *pems: str) -> None:
    """Let the client host trust certificates beside the collection's own root, and no others."""
    clients.options["roots"] = AUTHORITIES["server"].root.pem + "".join(pems)
    clients.converge()


@as_root
@pytest.mark.parametrize("kind", KINDS)
def test_a_client_trusts_a_self_signed_certificate_in_every_form(
    clients: Clients, alice: User, elsewhere: Server, client_authority: Any, kind: str
) -> None:
    serve(elsewhere, KINDS[kind], client_authority.root)
    trust(clients)
    assert "certificate verify failed" in log_in(elsewhere, alice)
    for form, made in anchors.FORMS.items():
        trust(clients, made(KINDS[kind].pem))
        assert log_in(elsewhere, alice) == "app\n", form
        trust(clients)
    trust(clients, self_signed("debian", NAME).pem)
    assert "certificate verify failed" in log_in(elsewhere, alice), "another of this name"


@as_root
def test_one_that_has_ended_is_told_and_is_in_the_way_of_no_other(
    clients: Clients, alice: User, elsewhere: Server
) -> None:
    ended = self_signed("debian", NAME, start=0)
    trust(clients, ended.pem, OWN.pem)
    assert log_in(elsewhere, alice) == "app\n"
    assert ended.pem in (alice.default / "root.crt").read_text(), "it stays"
    [told] = warnings(clients)
    assert told.startswith("roots: 'debian' is valid only from 1970-01-01T00:00:00Z to 1970-")
    with pytest.raises(TlsError, match="roots: expected at least one self-signed root that is valid now"):
        clients.call(roots=ended.pem)


@as_root
def test_two_of_one_name_are_told_since_the_first_one_alone_counts(
    clients: Clients, alice: User, elsewhere: Server
) -> None:
    other = self_signed("debian", NAME)
    for first, second, answer in ((OWN, other, "app\n"), (other, OWN, "certificate verify failed")):
        trust(clients, first.pem, second.pem)
        assert answer in log_in(elsewhere, alice)
        [told] = warnings(clients)
        assert "'debian' has the same name as a self-signed certificate before it" in told


@as_root
def test_with_lists_of_revoked_certificates_it_needs_one_too(clients: Clients, alice: User, elsewhere: Server) -> None:
    lists = "".join(AUTHORITIES["server"].crls)
    clients.options["crls"] = lists
    with pytest.raises(TlsError, match="there is no list of revoked certificates of 'debian'"):
        trust(clients, OWN.pem)
    trust(clients, OWN.pem, list_of(OWN))
    assert log_in(elsewhere, alice) == "app\n"


def list_of(one: SelfSigned) -> str:
    """Return an empty list of revoked certificates that a certificate's key has signed."""
    key: Any = serialization.load_pem_private_key(one.key.encode(), None)
    start = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1)
    builder = x509.CertificateRevocationListBuilder(x509.load_pem_x509_certificate(one.pem.encode()).subject)
    builder = builder.last_update(start).next_update(start + datetime.timedelta(days=9))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize("form", anchors.FORMS)
def test_a_probe_trusts_it_in_every_form(elsewhere: Server, form: str) -> None:
    endpoint = wire.Endpoint("127.0.0.1", elsewhere.cluster.port, 5.0, NAME)
    wanted = Wanted([NAME], anchors.FORMS[form](OWN.pem))
    assert probe(endpoint, wanted, int(time.time()))["chain"][0]["subject"] == "debian"


# Clients' certificates at a server of this collection


def by_certificate(server: Server, folder: Path, one: SelfSigned, name: str = "localhost") -> str:
    """Return what psql says with this client certificate, verifying the server's."""
    parts = {"sslcert": one.pem, "sslkey": one.key, "sslrootcert": AUTHORITIES["server"].root.pem}
    for part, text in parts.items():
        (folder / part).write_text(text)
        (folder / part).chmod(0o600)
    line = " ".join([where(server, name), *(f"{part}={folder / part}" for part in parts)])
    command = [str(server.cluster.programs / "psql"), "-XAtw", "-d", line, "-c", "SELECT current_user"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"LC_ALL": "C"})
    return done.stdout + done.stderr


@pytest.mark.parametrize("form", ["plain", "everything of Windows"])
def test_a_server_trusts_a_self_signed_client_until_it_is_taken_out(managed: Server, tmp_path: Path, form: str) -> None:
    app, ended = self_signed("app"), self_signed("app", start=0)
    assert "unknown ca" in by_certificate(managed, tmp_path, app)
    managed.options["extra_trusted_clients"] = "".join(anchors.FORMS[form](one.pem) for one in (ended, app))
    warned = managed.settle().warnings
    assert any("certificates of 'app', 'app' log in like those of this collection" in one for one in warned)
    [told] = [one for one in warned if "is valid only from" in one]
    assert told.startswith("extra_trusted_clients: 'app' is valid only from 1970-01-01T00:00:00Z to 1970-")
    assert managed.used()["trusted-clients.crt"].decode().endswith(ended.pem + app.pem)
    assert by_certificate(managed, tmp_path, app) == "app\n"
    assert managed.converge().changes == []
    managed.roll_back(extra_trusted_clients="")
    assert "unknown ca" in by_certificate(managed, tmp_path, app)


# Names with an underscore


def test_a_name_with_an_underscore_is_proven_and_told(managed: Server, tmp_path: Path) -> None:
    app = self_signed("app")
    managed.options.update(extra_trusted_clients=app.pem, names=["localhost", NAME, "_a.b_.example.com", "127.0.0.1"])
    for outcome in (managed.settle(), managed.converge()):
        [told] = [one for one in outcome.warnings if "underscores" in one]
        assert told.startswith(f"{NAME}, _a.b_.example.com: host names have no underscores")
    for name in (NAME, "_a.b_.example.com", "localhost"):
        assert by_certificate(managed, tmp_path, app, name) == "app\n"
        endpoint = wire.Endpoint("127.0.0.1", managed.cluster.port, 5.0, name)
        assert probe(endpoint, Wanted([name], AUTHORITIES["server"].root.pem), int(time.time()))
    assert "does not match host name" in by_certificate(managed, tmp_path, app, "db_2.example.com")


def test_a_wildcard_with_an_underscore_is_refused_before_anything_changes(managed: Server) -> None:
    before = managed.disk()
    with pytest.raises(TlsError, match=r"names: '\*\.my_net\.example' is a wildcard with an underscore"):
        managed.converge(names=["localhost", "*.my_net.example"])
    assert managed.disk() == before
