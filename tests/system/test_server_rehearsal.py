# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values that only OpenSSL or the server can judge: check mode and the asking call refuse what the run would."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core import privileges, processes
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.server import rehearsal, target
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, Server

UNUSABLE_SETTINGS = [
    ({"ssl_ciphers": "NO-SUCH-CIPHER"}, "ssl_ciphers: 'NO-SUCH-CIPHER' is no cipher list that OpenSSL accepts"),
    (
        {"ssl_ciphers": "ECDHE-RSA-AES256-GCM-SHA384", "ssl_max_protocol_version": "TLSv1.2"},
        "The rehearsed server refuses the handshake",  # the key is P-256, there is no common cipher
    ),
    ({"ssl_ecdh_curve": "no-such-curve"}, "ssl_ecdh_curve: 'no-such-curve' is not a curve"),
    ({"ssl_ecdh_curve": "X25519"}, "ssl_ecdh_curve: 'X25519' is not a curve"),
    (
        {"ssl_min_protocol_version": "TLSv1.3", "ssl_max_protocol_version": "TLSv1.2"},
        "ssl_min_protocol_version is 'TLSv1.3', above ssl_max_protocol_version 'TLSv1.2'",
    ),
    ({"ssl_max_protocol_version": "TLSv1.1"}, "ssl_min_protocol_version is 'TLSv1.2'"),
    (
        {"ssl_min_protocol_version": "TLSv1", "ssl_max_protocol_version": "TLSv1.1"},
        "ssl_max_protocol_version is 'TLSv1.1'",
    ),
    ({"ssl_dh_params_file": "/nonexistent/dh.pem"}, "ssl_dh_params_file: /nonexistent/dh.pem: No such file"),
    ({"ssl_dh_params_file": "postgresql.conf"}, "/data/postgresql.conf: "),
]
FFDHE2048 = """-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""  # of RFC 7919
CHANGES: list[Callable[[Server], Any]] = [
    lambda _server: None,  # the first set-up
    lambda server: server.settle(),
]


@pytest.mark.parametrize("before", CHANGES, ids=["new", "managed"])
@pytest.mark.parametrize(("settings", "message"), UNUSABLE_SETTINGS)
def test_what_openssl_would_refuse_is_refused_before_a_certificate_is_asked_for(
    server: Server, before: Callable[[Server], Any], settings: dict[str, str], message: str
) -> None:
    if next(iter(settings)) not in server.cluster.psql("SELECT name FROM pg_settings").split():
        pytest.skip("this version has no such setting")
    before(server)
    disk, signals = server.disk(), server.cluster.log().count("SIGHUP")
    server.ssl = settings
    for options in ({"check_mode": True}, {}, {"check_mode": True, "renew": True}, {"renew": True}):
        with pytest.raises(TlsError) as failure:
            server.converge(**options)
        assert message in failure.value.message
        assert not {"changed", "rolled_back"} & set(failure.value.details)
    assert {path: found for path, found in server.disk().items() if path in disk} == disk
    assert server.cluster.log().count("SIGHUP") == signals
    assert not list(server.directory.glob("pending/*")), "no key was made for it"


@pytest.mark.parametrize(
    "settings", [settings for settings, message in UNUSABLE_SETTINGS if "handshake" not in message]
)
def test_what_is_refused_beforehand_is_what_the_server_refuses(managed: Server, settings: dict[str, str]) -> None:
    if next(iter(settings)) not in managed.cluster.psql("SELECT name FROM pg_settings").split():
        pytest.skip("this version has no such setting")
    managed.cluster.append("postgresql.conf", "".join(f"{name} = '{value}'\n" for name, value in settings.items()))
    managed.cluster.reload()
    for _look in range(100):
        told = "SSL configuration was not reloaded" in managed.cluster.log()
        if told:
            break
        managed.cluster.psql("SELECT 1")
    if "ssl_dh_params_file" in settings:  # it takes its built-in ones
        assert (
            "could not open DH parameters file" in managed.cluster.log() or "could not load DH" in managed.cluster.log()
        )
    elif settings != {"ssl_min_protocol_version": "TLSv1", "ssl_max_protocol_version": "TLSv1.1"}:  # nobody speaks that
        assert told


@pytest.mark.parametrize(
    ("key_type", "settings"),
    [
        ("P-384", {"ssl_ciphers": "HIGH:!aNULL", "ssl_min_protocol_version": "TLSv1.3"}),
        ("RSA-3072", {"ssl_ciphers": "ECDHE-RSA-AES256-GCM-SHA384", "ssl_max_protocol_version": "TLSv1.2"}),
        ("Ed25519", {"ssl_max_protocol_version": "tlsv1.3", "ssl_min_protocol_version": "TLSv1"}),
        ("P-256", {"ssl_dh_params_file": "dh.pem"}),
    ],
)
def test_what_the_server_takes_passes_the_rehearsal(server: Server, key_type: str, settings: dict[str, str]) -> None:
    server.cluster.write("dh.pem", FFDHE2048)
    server.ssl = settings
    told = server.converge(check_mode=True, key_type=key_type)
    assert told.changes == server.settle(key_type=key_type).changes
    assert server.converge(key_type=key_type).changes == []


def test_another_type_of_key_is_rehearsed_with_the_settings_that_stay(server: Server) -> None:
    server.ssl = {"ssl_ciphers": "ECDHE-ECDSA-AES256-GCM-SHA384", "ssl_max_protocol_version": "TLSv1.2"}
    server.settle()
    for check_mode in (True, False):
        with pytest.raises(TlsError, match="The rehearsed server refuses the handshake: no shared cipher"):
            server.converge(key_type="RSA-3072", check_mode=check_mode)


def test_a_changed_trust_is_tried_with_the_certificate_in_use(managed: Server) -> None:
    reason = "unusable: The rehearsed client refuses the handshake: unable to get local issuer certificate"
    for check_mode in (True, False):
        told = managed.converge(check_mode=check_mode, roots=AUTHORITIES["client"].root.pem)
        assert told.plan.reasons == [reason]


def test_a_run_that_changes_nothing_rehearses_nothing_and_runs_no_openssl(
    managed: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    managed.ssl = {"ssl_ciphers": "HIGH:!aNULL", "ssl_min_protocol_version": "TLSv1.3"}
    managed.settle()
    commands: list[str] = []
    start = processes.start
    monkeypatch.setattr(
        processes, "start", lambda argv, *rest: (commands.append(Path(argv[0]).name), start(argv, *rest))[1]
    )
    monkeypatch.setattr(rehearsal, "server_context", lambda *_arguments: pytest.fail("a needless rehearsal"))
    assert managed.converge().changes == []
    assert managed.converge(check_mode=True).changes == []
    assert managed.converge(check_mode=True, renew=True).plan.reasons == ["forced"]
    assert set(commands) == {"psql"}


def test_a_first_set_up_without_settings_of_its_own_makes_no_key_for_a_rehearsal(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal.openssl, "throw_away", lambda *_arguments: pytest.fail("a needless key"))
    assert server.converge(check_mode=True).plan.reasons == ["no_certificate"]


def test_the_rehearsal_leaves_no_file(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    server.ssl = {"ssl_ciphers": "HIGH:!aNULL"}
    before = [*server.cluster.home.iterdir(), *server.cluster.data.iterdir()]
    server.converge(check_mode=True)
    assert [*server.cluster.home.iterdir(), *server.cluster.data.iterdir()] == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        ({"ssl_groups": "X25519:prime256v1"}, ""),
        ({"ssl_groups": "P-256"}, ""),
        ({"ssl_groups": "X25519:no-such-group"}, "ssl_groups: OpenSSL does not accept 'X25519:no-such-group'"),
        ({"ssl_tls13_ciphers": "TLS_AES_256_GCM_SHA384"}, ""),
        ({"ssl_tls13_ciphers": "TLS_NO_SUCH"}, "ssl_tls13_ciphers: OpenSSL does not accept 'TLS_NO_SUCH'"),
    ],
)
def test_settings_of_version_18_are_judged_by_the_openssl_command(
    server: Server, settings: dict[str, str], refused: str
) -> None:
    wanted = target.read(server.all_options())._replace(settings=settings)
    place = rehearsal.DataDirectory(str(server.cluster.data), processes.account(server.cluster.account, "account"))
    with privileges.acting_as(place.account):
        if not refused:
            rehearsal.rehearse_settings(wanted, place)
            return
        with pytest.raises(TlsError) as failure:
            rehearsal.rehearse_settings(wanted, place)
    assert failure.value.message.startswith(refused)
