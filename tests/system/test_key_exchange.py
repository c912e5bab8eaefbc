# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The key exchange of clients with a server that has a preset of the role: with this container's OpenSSL."""

from __future__ import annotations

import re
import ssl
import subprocess

import pytest
import yaml
from ansible_collections.pgops.tls.plugins.module_utils.postgres import key_exchange, wire
from ansible_collections.pgops.tls.plugins.module_utils.verification.endpoint import group
from ansible_collections.pgops.tls.tests.servers import Server
from ansible_collections.pgops.tls.tests.shared import ROOT

VARIABLES = yaml.safe_load((ROOT / "roles" / "postgres_server" / "vars" / "main.yml").read_text())
PRESETS = VARIABLES["__postgres_server_ssl_presets"]
HYBRID = "X25519MLKEM768"
IS_HYBRID_KNOWN = ssl.OPENSSL_VERSION_INFO >= (3, 5)
CHACHA = ["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], ["-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"]


def major(server: Server) -> int:
    return int(server.cluster.psql("SHOW server_version_num")) // 10000


def text(server: Server, preset: str) -> str:
    """Return ssl.conf as the role writes it for a preset."""
    values = {name: {True: "on", False: "off"}.get(value, value) for name, value in PRESETS[preset].items()}
    later = values.pop("ssl_tls13_ciphers", "")
    server.ssl = values
    return server.ssl_conf() + (f"ssl_tls13_ciphers = '{later}' # from PostgreSQL 18 on\n" if later else "")


def agreed(server: Server, *options: str) -> str:
    """Return the group that a client with these options of openssl gets, '' if it is refused."""
    argv = ["openssl", "s_client", "-starttls", "postgres", "-connect", f"127.0.0.1:{server.cluster.port}", *options]
    done = subprocess.run(argv, input="", capture_output=True, text=True, check=False)
    return key_exchange.negotiated(done.stdout) if re.search(r"Cipher is [^(]", done.stdout) else ""


@pytest.mark.parametrize("preset", ["intermediate", "modern"])
def test_clients_get_the_best_group_that_both_know(server: Server, preset: str) -> None:
    wanted = text(server, preset)
    outcome = server.settle(ssl_conf=wanted)
    assert server.converge(ssl_conf=wanted).changes == []
    is_list = major(server) >= 18
    assert bool(outcome.target.groups_left_out) == (is_list and not IS_HYBRID_KNOWN)
    best = HYBRID if is_list and IS_HYBRID_KNOWN else "X25519" if is_list else "prime256v1"
    assert agreed(server) == best
    assert group(wire.Endpoint("127.0.0.1", server.cluster.port), direct=False) == best
    assert agreed(server, "-groups", "X25519") == ("X25519" if is_list else "")
    assert agreed(server, "-groups", "P-256") == "prime256v1"
    old = {"intermediate": "X25519" if is_list else "prime256v1", "modern": ""}
    assert agreed(server, "-tls1_2") == old[preset]


def test_a_server_whose_library_is_too_old_or_not_known_does_without_the_group(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    if major(server) < 18 or not IS_HYBRID_KNOWN:
        pytest.skip("no server here knows the group")
    wanted = text(server, "intermediate")
    monkeypatch.setattr(ssl, "OPENSSL_VERSION_INFO", (3, 4, 0, 0, 0))
    monkeypatch.setattr(ssl, "OPENSSL_VERSION", "OpenSSL 3.4.0")
    outcome = server.settle(ssl_conf=wanted)
    assert outcome.target.groups_left_out == f"{HYBRID}: the server has OpenSSL 3.4.0, and they need 3.5 or later"
    assert agreed(server) == "X25519"
    assert server.converge(ssl_conf=wanted).changes == []
    monkeypatch.undo()  # as after an upgrade and a restart
    assert [one.partition(":")[0] for one in server.converge(ssl_conf=wanted).changes][:1] == ["ssl.conf"]
    assert agreed(server) == HYBRID
    library = key_exchange._library("self")
    monkeypatch.setattr(key_exchange, "_library", lambda one: f"{library} (deleted)" if one != "self" else library)
    outcome = server.converge(ssl_conf=wanted)
    assert outcome.target.groups_left_out.endswith("Restart the server, and rerun")
    assert agreed(server) == "X25519"


def test_fips_has_neither_x25519_nor_chacha20(server: Server) -> None:
    wanted = text(server, "fips")
    server.settle(ssl_conf=wanted)
    assert server.converge(ssl_conf=wanted).changes == []
    assert agreed(server) == "prime256v1"
    assert agreed(server, "-tls1_2") == "prime256v1"
    assert agreed(server, "-groups", "X25519") == ""
    of_old, of_new = CHACHA
    assert agreed(server, *of_old) == ""
    assert bool(agreed(server, *of_new)) == (major(server) < 18), "before, nobody can choose suites of TLS 1.3"


def test_what_fips_has_is_in_the_list_of_openssl() -> None:
    known = subprocess.run(["openssl", "ciphers", "FIPS"], capture_output=True, text=True, check=True).stdout.strip()
    chosen = [*PRESETS["fips"]["ssl_ciphers"].split(":"), *PRESETS["fips"]["ssl_tls13_ciphers"].split(":")]
    assert set(chosen) <= set(known.split(":"))
    assert "CHACHA20" not in "".join(chosen)
    # The groups of NIST's SP 800-186, which X25519 is not among
    assert set(PRESETS["fips"]["ssl_groups"].split(":")) <= {"prime256v1", "secp384r1", "secp521r1"}
