# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which server a certificate belongs to."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.verification import identity
from ansible_collections.pgops.tls.plugins.module_utils.verification.identity import Answer, Known
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests import servers
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding


def leaf(*names: str, start: int = servers.TODAY) -> certificate.Certificate:
    """Return a certificate that the server authority issues for these names."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    text = request.public_bytes(Encoding.PEM).decode()
    return certificate.read_pem(servers.sign(text, list(names), start=start), "chain")[0]


def known(server: str, of: certificate.Certificate | None, *names: str) -> Known:
    return Known(server, frozenset(names), f"{of.serial:x}" if of else "", of.not_before if of else 0)


DB1, DB2 = leaf("db1", "db"), leaf("db2", "db")
FIRST, SECOND = known("db1", DB1, "db1", "db"), known("db2", DB2, "db2", "db")


def test_the_serial_number_tells_the_server() -> None:
    assert identity.answer(DB2, [FIRST, SECOND]) == Answer("db2")
    assert identity.answer(DB1, [FIRST]) == Answer("db1")


def test_without_a_certificate_or_anything_to_compare_nothing_is_said() -> None:
    assert identity.answer(None, [FIRST]) == identity.answer(DB1, []) == Answer()


def test_the_certificate_of_another_server_is_a_fault() -> None:
    found = identity.answer(DB2, [FIRST])
    assert not found.server
    assert found.fault.startswith(f"by another server than db1 (serial number {DB1.serial:x}): its certificate has")
    assert "the names db2, db. Look where the name leads from this host" in found.fault


def test_a_renewal_by_another_run_is_told_by_exactly_the_same_names_and_a_later_start() -> None:
    assert identity.answer(leaf("db", "db1"), [FIRST, SECOND]).server == "db1"
    assert identity.answer(leaf("db", "db1", start=servers.TODAY - 60), [FIRST]).server == "db1", "of two runs at once"
    assert identity.answer(leaf("db", "db1", start=servers.TODAY - 86400), [FIRST]).fault, "an old machine of that name"
    assert identity.answer(leaf("db", "db1", "more"), [FIRST]).fault


def test_what_this_run_cannot_know_is_no_fault_and_no_proof() -> None:
    out = Known("db3", frozenset(["db3", "db"]))
    for shown in (DB2, leaf("db3", "db")):
        found = identity.answer(shown, [FIRST, out])
        assert found == Answer(note="which server answered is not known: db3 was not part of this run")
    assert identity.answer(DB1, [FIRST, out]) == Answer("db1")
    twins = [known("db1", DB1, "db"), known("db2", DB2, "db")]
    assert identity.answer(leaf("db"), twins).note.endswith("db1 and db2 have the same names")


def test_options_are_read_and_a_wrong_time_is_named() -> None:
    given: dict[str, Any] = {"server": "db1", "serial": "0A1", "not_before": "1970-01-01T00:01:00Z", "names": ["db1"]}
    assert identity.known(given, "x") == Known("db1", frozenset(["db1"]), "a1", 60)
    assert identity.known({"server": "db1", "serial": None, "names": None}, "x") == Known("db1")
    with pytest.raises(TlsError, match=r"certificates\[0\].not_before: expected a time such as .* found 'soon'"):
        identity.known({**given, "not_before": "soon"}, "certificates[0]")
