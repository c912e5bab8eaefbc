# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A REST API as a client sees it: with TLS, without, asking for a certificate, silent, and absent."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.patroni import api
from ansible_collections.pgops.tls.plugins.module_utils.postgres import wire
from ansible_collections.pgops.tls.plugins.module_utils.postgres.wire import Endpoint
from ansible_collections.pgops.tls.plugins.module_utils.restapi import members
from ansible_collections.pgops.tls.plugins.module_utils.restapi.members import Member
from ansible_collections.pgops.tls.plugins.module_utils.x509 import rehearsal
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import read_pem
from ansible_collections.pgops.tls.plugins.module_utils.x509.rehearsal import ClientFiles
from ansible_collections.pgops.tls.tests import restapis
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

ANSWER = b'HTTP/1.0 200 OK\r\n\r\n{"members": [{"name": "a", "api_url": "https://127.0.0.1:1/patroni"}, {"name": "b"}]}'
FORBIDDEN = b"HTTP/1.0 403 Forbidden\r\n\r\nclient certificate required"


def pair(folder: Path, name: str, authority: Any = None) -> rehearsal.Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    chain = restapis.sign(name, request.public_bytes(Encoding.PEM).decode(), authority=authority)
    (folder / f"{name}.crt").write_text(chain)
    (folder / f"{name}.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return rehearsal.Pair(str(folder / f"{name}.crt"), str(folder / f"{name}.key"))


@contextlib.contextmanager
def answering(context: ssl.SSLContext | None, answer: bytes | None = ANSWER) -> Iterator[Endpoint]:
    """Run a REST API that gives the same answer to each request; None: it listens, and says nothing."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _address = listening.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), connection:
                connection.settimeout(5)
                if answer is None:
                    connection.recv(1 << 16)
                    continue
                with context.wrap_socket(connection, server_side=True) if context else connection as session:
                    if session.recv(1 << 16).startswith(b"GET "):
                        session.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield Endpoint("127.0.0.1", int(listening.getsockname()[1]), 1.0)
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


@pytest.fixture
def files(tmp_path: Path) -> ClientFiles:
    """Give the files of a client of the REST API, beside those of the REST API itself."""
    pair(tmp_path, "api")
    ctl = pair(tmp_path, "ctl")
    (tmp_path / "root.crt").write_text(AUTHORITIES["server"].root.pem)
    return ClientFiles(ctl.certificate, ctl.key, str(tmp_path / "root.crt"))


def demanding(tmp_path: Path, trusted: str = restapis.CLIENTS.root.pem) -> ssl.SSLContext:
    own = rehearsal.Pair(str(tmp_path / "api.crt"), str(tmp_path / "api.key"))
    context = rehearsal.server_context(own, trusted)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("has_tls", [True, False])
def test_both_forms_are_told_apart_whatever_is_expected(tmp_path: Path, has_tls: bool) -> None:
    leaf = read_pem((tmp_path / "api.crt").read_text(), "chain")[0]
    own = rehearsal.Pair(str(tmp_path / "api.crt"), str(tmp_path / "api.key"))
    with answering(rehearsal.server_context(own)) as at:
        answer = api.look(at, wire.observing_context(), has_tls=has_tls)
        assert answer
        assert (answer.fingerprint, answer.status) == (leaf.sha256, 200)
    with answering(None) as at:
        answer = api.look(at, wire.observing_context(), "/cluster", has_tls=has_tls)
        assert answer
        assert (answer.leaf, answer.status, answer.data["members"][0]["name"]) == (None, 200, "a")


def test_silence_is_no_answer() -> None:
    with answering(None, None) as at:
        for has_tls in (True, False):
            assert api.look(at, wire.observing_context(), has_tls=has_tls) is None
    assert api.look(at, wire.observing_context(), has_tls=True) is None, "nobody listens any more"


@pytest.mark.usefixtures("files")
def test_a_certificate_is_seen_where_the_client_is_refused(tmp_path: Path) -> None:
    with answering(demanding(tmp_path)) as at:
        answer = api.look(at, wire.observing_context(), has_tls=True)
    assert answer
    assert answer.leaf
    assert answer.status == 0
    assert answer.reason


@pytest.mark.usefixtures("files")
def test_a_refusal_before_the_certificate_can_be_seen_is_an_answer(tmp_path: Path) -> None:
    """A thread that refuses is alive: only a dead one is silent."""
    context = demanding(tmp_path)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    for has_tls in (True, False):
        with answering(context, context) as at:
            answer = api.look(at, wire.observing_context(), has_tls=has_tls)
        assert answer
        assert (answer.has_tls, answer.leaf, answer.status) == (True, None, 0)
        assert "ALERT" in answer.reason


@pytest.mark.usefixtures("files")
def test_a_certificate_is_seen_where_the_connection_breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_given: object) -> None:  # as it does now and then, when the end of a connection overtakes the alert
        raise ConnectionResetError("Connection reset by peer")

    monkeypatch.setattr(api, "_answer", breaks)
    own = rehearsal.Pair(str(tmp_path / "api.crt"), str(tmp_path / "api.key"))
    with answering(rehearsal.server_context(own)) as at:
        answer = api.look(at, wire.observing_context(), has_tls=True)
    assert answer
    assert answer.leaf
    assert (answer.status, answer.reason) == (0, "Connection reset by peer")


def tried(at: Endpoint, files: ClientFiles) -> members.Trial:
    [found] = members.trials([Member("b", "https", at), Member("c", "http", at)], files)
    return found


def test_a_member_accepts_refuses_or_is_not_there(files: ClientFiles, tmp_path: Path) -> None:
    with answering(demanding(tmp_path)) as at:
        assert tried(at, files).verdict == members.ACCEPTED
        assert tried(at, files._replace(certificate="", key="")).verdict == members.REFUSED
        other = tmp_path / "other.crt"
        other.write_text(AUTHORITIES["client"].root.pem)
        refused = tried(at, files._replace(roots=str(other)))
        assert (refused.verdict, refused.words) == (members.REFUSED, "unable to get local issuer certificate")
    with answering(demanding(tmp_path, AUTHORITIES["client"].root.pem)) as at:
        assert tried(at, files).verdict == members.REFUSED
    with answering(demanding(tmp_path), FORBIDDEN) as at:
        assert tried(at, files).words == "403 client certificate required"
    assert tried(at, files).verdict == members.UNREACHABLE
    with answering(None, None) as at:
        assert tried(at, files).verdict == members.UNREACHABLE


def test_members_are_those_that_the_rest_api_lists() -> None:
    with answering(None) as at:
        assert members.of(at, wire.observing_context(), "c", has_tls=False) == [
            Member("a", "https", Endpoint("127.0.0.1", 1, 3.0))
        ]
        assert members.of(at, wire.observing_context(), "a", has_tls=False) == []
    with answering(None, b"HTTP/1.0 200 OK\r\n\r\nno JSON") as at:
        assert members.of(at, wire.observing_context(), "c", has_tls=False) == []
