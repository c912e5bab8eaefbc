# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan for a PgBouncer does about what was found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.deployment.pairs import Kept
from ansible_collections.pgops.tls.plugins.module_utils.pgbouncer import ini
from ansible_collections.pgops.tls.plugins.module_utils.pooler import plan, target
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import read_pem
from ansible_collections.pgops.tls.tests.poolers import Pooler, sign
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

EMPTY = "[pgbouncer]\n"
OWN = ini.lines(EMPTY, "/p/pgbouncer.ini", {}.get)
POOLER = Pooler(Path("/p"), None, 6432)


def wanted(**changes: Any) -> target.Target:
    return target.read(POOLER.all_options(**changes))


def request() -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.PEM).decode()


TARGET = wanted()
CHAINS = {name: sign(name, request()) for name in ("front", "back")}
SERIAL = f"{read_pem(CHAINS['front'], 'chain')[0].serial:x}"


def found(**changes: Any) -> plan.Found:
    """Return what there is where everything is as declared."""
    generation = {
        "server.crt": CHAINS["front"].encode(),
        "server.key": b"key",
        "trusted-clients.crt": TARGET.pair.trusted_clients.encode(),
        "client.crt": CHAINS["back"].encode(),
        "client.key": b"key",
        "root.crt": TARGET.pair.roots.encode(),
        "tls.ini": TARGET.conf("0001"),
    }
    kept = Kept("0001", generation, repairs=(), unfit={})
    present = plan.Found(
        kept=kept._replace(**{name: changes.pop(name) for name in Kept._fields if name in changes}),
        text=ini.with_include(EMPTY, TARGET.included, TARGET.config_file, OWN),
        own=OWN,
        served=TARGET.pair.server.chain(generation)[0].sha256,
        config=TARGET.values("0001"),
        observable=True,
        version=(1, 18),
    )
    return present._replace(**changes)


def test_what_is_as_declared_needs_nothing() -> None:
    made = plan.make(TARGET, found(), TODAY)
    assert (made.changes, made.contents, made.text) == ([], None, None)


def test_nothing_there_needs_both_and_the_line_in_the_configuration() -> None:
    made = plan.make(TARGET, found(current=None, generation={}, text="[pgbouncer]\n", served="", config={}), TODAY)
    assert made.reasons == {"front": ["no_certificate"], "back": ["no_certificate"]}
    assert made.changes[2:] == [
        "trusted-clients.crt: new",
        "root.crt: new",
        "tls.ini: new",
        f"{TARGET.config_file}: changed",
    ]
    assert made.changes_back


@pytest.mark.parametrize(
    ("changes", "expected", "changes_back"),
    [
        ({"names": ["pool.example"]}, ["front certificate: san_missing: pool.example"], False),
        ({"role": "other"}, ["back certificate: common_name: pgbouncer instead of other"], True),
        ({"client_tls_sslmode": "verify-full"}, ["tls.ini: changed"], False),
        ({"settings": {"client_tls_protocols": "tlsv1.3"}}, ["tls.ini: changed"], False),
        ({"trusted_clients": AUTHORITIES["client"].root.pem}, ["trusted-clients.crt: changed"], False),
        ({"renew": True}, ["front certificate: forced", "back certificate: forced"], True),
        (
            {"server_revoked": [f"{TARGET.pair.server.chain({'server.crt': CHAINS['front'].encode()})[0].serial:x}"]},
            ["front certificate: revoked"],
            False,
        ),
    ],
)
def test_a_declared_change_is_planned(changes: dict[str, Any], expected: list[str], changes_back: bool) -> None:
    made = plan.make(wanted(**changes), found(), TODAY)
    assert [one for one in made.changes if "san_not_wanted" not in one] == expected
    assert made.changes_back is changes_back


def test_what_others_changed_is_put_right() -> None:
    drifted = found(config={**TARGET.values("0001"), "client_tls_sslmode": "disable"})
    assert plan.make(TARGET, drifted, TODAY).changes == [
        "reload: client_tls_sslmode is 'disable' in force, expected 'require'"
    ]
    shown = plan.make(TARGET, found(served="x"), TODAY)
    assert shown.changes == ["reload: PgBouncer shows another certificate than the one on disk"]
    assert plan.make(TARGET, found(text="[pgbouncer]\n"), TODAY).changes == [f"{TARGET.config_file}: changed"]
    unfit = plan.make(TARGET, found(unfit={"back": "x"}), TODAY)
    assert unfit.changes == ["back certificate: unusable: x"]


def test_a_change_that_no_handshake_shows_relies_on_the_log_or_on_a_new_leaf() -> None:
    changed = wanted(client_tls_sslmode="verify-full")
    assert plan.make(changed, found(), TODAY).relies_on_log
    made = plan.make(changed, found(observable=False), TODAY)
    assert made.reasons == {"front": [plan.UNOBSERVABLE], "back": []}
    assert not plan.make(wanted(renew=True), found(observable=False), TODAY).relies_on_log


def test_another_root_is_refused_unless_a_renewal_is_forced() -> None:
    stranger = issuing.new_authority("server", "P-256", TODAY)
    other = {"roots": stranger.root.pem, "server_issuing": stranger.issuing.pem}
    with pytest.raises(TlsError, match=r"server\.crt: this certificate is from"):
        plan.make(wanted(**other), found(), TODAY)
    assert plan.make(wanted(**other, renew=True), found(), TODAY).reasons["front"] == ["issuer_changed", "forced"]


def test_the_settings_have_no_header_and_paths_of_the_front_lead_into_the_generation() -> None:
    text = TARGET.conf("0007").decode()
    assert "[" not in text, "a header would reset every setting before it"
    assert "client_tls_cert_file = /p/tls/generations/0007/server.crt\n" in text
    assert "server_tls_cert_file = /p/tls/current/client.crt\n" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"port": 0}, "port: found 0"),
        ({"names": []}, "names: no names were given"),
        ({"role": ""}, "role: found ''"),
        ({"role": "a\nb"}, "role: found"),
        ({"directory": "tls"}, "directory: 'tls', expected an absolute path"),
        ({"directory": "/a b"}, "expected an absolute path without blanks"),
        (
            {"settings": {"client_tls_ciphers": "a\nauth_type = trust"}},
            "client_tls_ciphers is .*on one line",
        ),
        ({"settings": {"client_tls_sslmode": "x"}}, "settings: found 'client_tls_sslmode', expected some of"),
        ({"certificates": {"other": "x"}}, "certificates: found 'other', expected front and back"),
        ({"renew_before": "soon"}, "renew_before: 'soon' is not a duration"),
        ({"server_revoked": ["x y"]}, "server_revoked: found 'x y'"),
    ],
)
def test_a_bad_input_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TlsError, match=message):
        wanted(**changes)


def test_a_certificate_that_comes_later_stays_if_it_only_has_to_be_renewed() -> None:
    later = {"front": CHAINS["front"], "back": ""}
    made = plan.make(wanted(renew=True, certificates=later), found(), TODAY)
    assert made.reasons == {"front": ["forced"], "back": []}
    without = {name: content for name, content in found().generation.items() if name != "client.key"}
    damaged = plan.make(wanted(certificates=later), found(generation=without), TODAY)
    assert damaged.reasons["back"] == ["key_missing"]
