# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of revoked certificates: who made them, until when they are good, whom they revoke."""

from __future__ import annotations

import datetime
import subprocess
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509 import revocations
from ansible_collections.pgops.tls.tests import companies
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY, revocation_list
from ansible_collections.pgops.tls.tests.shared import DAY, NOW
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization


def test_an_authority_is_known_by_the_name_that_the_list_is_issued_by() -> None:
    client, server = AUTHORITIES["client"], AUTHORITIES["server"]
    lists = (revocation_list(server) + "\n" + revocation_list(client)).encode()
    everybody = [client.root, client.issuing, server.root, server.issuing]
    assert revocations.about(lists, everybody) == [client.issuing, server.issuing]
    assert revocations.about(revocation_list(client, of_root=True).encode(), everybody) == [client.root]


def test_what_is_no_list_is_about_nobody() -> None:
    server = AUTHORITIES["server"]
    assert revocations.about(server.root.pem.encode(), [server.root]) == []
    assert revocations.about(b"\xff nonsense", [server.root]) == []


def test_a_damaged_list_is_about_nobody() -> None:
    client = AUTHORITIES["client"]
    damaged = b"-----BEGIN X509 CRL-----\nabc\n-----END X509 CRL-----\n"
    assert revocations.about(damaged + revocation_list(client).encode(), [client.issuing]) == [client.issuing]


def made(*revoked: int, is_endless: bool = False) -> bytes:
    """Return a list (PEM) by the client CA, number 7, for the 30 days from NOW on, or without an end."""
    authority = AUTHORITIES["client"]
    start = datetime.datetime.fromtimestamp(TODAY, datetime.timezone.utc)
    builder = x509.CertificateRevocationListBuilder(x509.load_der_x509_certificate(authority.issuing.der).subject)
    end = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.timezone.utc)
    builder = builder.last_update(start).next_update(end if is_endless else start + datetime.timedelta(days=30))
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.issuing_key.public_key())
    builder = builder.add_extension(x509.CRLNumber(7), critical=False).add_extension(identifier, critical=False)
    for serial in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(start)
        entry = entry.add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    signed: Any = builder.sign(authority.issuing_key, hashes.SHA256())
    return bytes(signed.public_bytes(serialization.Encoding.PEM))


def test_a_list_says_who_made_it_until_when_it_is_good_and_whom_it_revokes() -> None:
    revoked = (1, 0x80, x509.random_serial_number())
    (found,) = revocations.read_pem(made(*revoked).decode(), "crls")
    issuing = AUTHORITIES["client"].issuing
    assert found.is_of(issuing)
    assert not found.is_of(AUTHORITIES["client"].root)
    assert (found.issuer_common_name, found.number) == (issuing.common_name, 7)
    assert (found.this_update, found.next_update) == (TODAY, TODAY + 30 * DAY)
    assert found.serials() == set(revoked)


def test_a_list_of_nobody_and_one_without_an_end_are_read() -> None:
    (found,) = revocations.read_pem(made(is_endless=True).decode(), "crls")
    assert found.serials() == set()
    assert found.next_update == 253402300799
    assert revocations.read_pem("", "crls") == []


def test_the_text_of_a_list_is_what_openssl_reads() -> None:
    (found,) = revocations.read_pem(made(4711).decode(), "crls")
    shown = subprocess.run(
        ["openssl", "crl", "-noout", "-text"], input=found.pem.encode(), capture_output=True, check=True
    ).stdout.decode()
    assert "Serial Number: 1267" in shown
    assert "Key Compromise" in shown


def test_what_is_no_list_is_told_without_a_secret() -> None:
    damaged = "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"
    half = made(1).decode()[:200]
    for text, found in (
        (damaged, "damaged"),
        (half, "no whole list"),
        ("-----BEGIN PRIVATE KEY-----", "a private key"),
    ):
        with pytest.raises(TlsError, match=f"^crls: .*{found}"):
            revocations.read_pem(text, "crls")


def test_serials_are_those_of_the_authorities_that_are_asked_for() -> None:
    client, server = AUTHORITIES["client"], AUTHORITIES["server"]
    text = made(1, 2) + revocation_list(server).encode() + b"\xff"
    assert revocations.serials_of(text, [client.issuing]) == {1, 2}
    assert revocations.serials_of(text, [server.issuing, client.root]) == set()


def test_a_gap_is_an_authority_without_a_list() -> None:
    client = AUTHORITIES["client"]
    both = made().decode() + revocation_list(client, of_root=True)
    revocations.refuse_gaps(both, [client.root, client.issuing], "crls", TODAY)
    with pytest.raises(TlsError, match=f"crls: there is no list .* of '{client.root.common_name}'"):
        revocations.refuse_gaps(made().decode(), [client.root, client.issuing], "crls", TODAY)


@pytest.mark.parametrize("now", [TODAY - 1, TODAY + 30 * DAY])
def test_a_list_before_its_time_and_after_its_end_are_refused(now: int) -> None:
    with pytest.raises(TlsError, match=r"crls: the list .* is valid from .* every certificate would be refused"):
        revocations.refuse_gaps(made().decode(), [AUTHORITIES["client"].issuing], "crls", now)
    revocations.refuse_gaps(made().decode(), [AUTHORITIES["client"].issuing], "crls", TODAY + 30 * DAY - 1)


def forget(deployed: bytes, coming: str, now: int = TODAY) -> None:
    """Put lists in the place of others where the client CA stays trusted."""
    client = AUTHORITIES["client"]
    revocations.refuse_to_forget(deployed, coming, [client.issuing, client.root], "crls", "client", now=now)


def test_lists_are_not_replaced_by_those_that_revoke_less_and_the_message_has_the_entry_to_write() -> None:
    entries = r'\[\{serial: "1f", authority: client\}, \{serial: "80"'
    told = f"^crls: .* revoke 1f, 80, but .* revoked of module certificate_authority: {entries}"
    with pytest.raises(TlsError, match=told):
        forget(made(1, 0x80, 0x1F), made(1, 5).decode())
    with pytest.raises(TlsError, match=r"authorities is older than these lists, or another CA issues now"):
        forget(made(1), "", TODAY + 60 * DAY)  # none at all, as before the first revocation


def test_lists_that_revoke_as_much_or_more_take_their_place() -> None:
    forget(made(1), made(1, 2).decode())
    forget(made(), "")
    forget(b"damaged", made().decode())


def test_lists_of_an_authority_that_is_trusted_no_longer_go() -> None:
    server = AUTHORITIES["server"]
    forget(made(1), revocation_list(server))  # of another CA than the one in use: that is not handed out any more
    revocations.refuse_to_forget(made(1), "", [server.issuing, server.root], "crls", "server", now=TODAY)


COMPANY = companies.authority("Company CA")


def of_company(*serials: int, start: int = NOW, days: float = 3) -> str:
    """Return a list (PEM) by a company's CA."""
    return companies.as_pem(companies.revocation_list(COMPANY, *serials, start=start, days=days))


def company_forgets(deployed: str, coming: str, now: int = NOW) -> None:
    revocations.refuse_to_forget(deployed.encode(), coming, [COMPANY.read], "crls", "client", now=now)


def test_another_ca_forgets_certificates_that_have_ended_so_a_later_list_of_it_may_revoke_less() -> None:
    company_forgets(of_company(1, 2), of_company(2, start=NOW + DAY))
    with pytest.raises(TlsError, match="revoke 1, but"):
        company_forgets(of_company(1, 2, start=NOW + DAY), of_company(2))


def test_a_list_of_another_ca_goes_only_shortly_before_it_would_refuse_everybody() -> None:
    company_forgets(of_company(1), "", NOW + 3 * DAY - revocations.NEXT_RUN)
    company_forgets(of_company(1), "", NOW + 9 * DAY)
    with pytest.raises(TlsError, match="revoke 1, but"):
        company_forgets(of_company(1), "", NOW + 3 * DAY - revocations.NEXT_RUN - 1)


def test_lists_of_other_cas_go_together_when_one_of_them_ends() -> None:
    root = companies.authority("Company Root")
    long = companies.as_pem(companies.revocation_list(root, 77, days=170))
    both = (of_company(1) + long).encode()
    trusted = [COMPANY.read, root.read]
    revocations.refuse_to_forget(both, "", trusted, "crls", "client", now=NOW + 2 * DAY)
    with pytest.raises(TlsError, match="revoke 1, 4d, but"):
        revocations.refuse_to_forget(both, "", trusted, "crls", "client", now=NOW)
    ours, issuing = made(1).decode() + of_company(2), AUTHORITIES["client"].issuing
    with pytest.raises(TlsError, match="revoke 1, but"):
        revocations.refuse_to_forget(ours.encode(), "", [issuing], "crls", "client", now=NOW + 9 * DAY)


def test_lists_that_end_before_another_run_are_told_with_what_to_do() -> None:
    assert revocations.ending(of_company(), "crls", NOW + DAY) == []
    (soon,) = revocations.ending(of_company(), "crls", NOW + 2 * DAY)
    assert "of 'Company CA' ends on" in soon
    assert "Have that CA make a new list" in soon
    (past,) = revocations.ending(made().decode(), "crls", TODAY + 30 * DAY)
    assert "has ended on" in past
    assert "Run site.yml" in past


def test_the_lists_of_own_cas_are_told_from_those_of_others() -> None:
    own = [revocation_list(one, of_root=is_root) for one in AUTHORITIES.values() for is_root in (True, False)]
    assert all(one.is_ours for text in own for one in revocations.read_pem(text, "crls"))
    assert not any(one.is_ours for one in revocations.read_pem(of_company(), "crls"))


def test_many_serial_numbers_are_counted() -> None:
    with pytest.raises(TlsError, match=r"revoke 1, 2, .* and 2 more, but the new lists"):
        forget(made(*range(1, 13)), made().decode())
