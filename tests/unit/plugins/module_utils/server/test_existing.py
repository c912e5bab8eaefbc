# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is decided about files that somebody else renews: which are taken, when they are late, what roots they need."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.server import existing, target
from ansible_collections.pgops.tls.plugins.module_utils.server.found import Existing, Offered
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate
from ansible_collections.pgops.tls.tests import companies, servers
from ansible_collections.pgops.tls.tests.shared import DAY, NOW
from cryptography.hazmat.primitives.asymmetric import ec

COMPANY, OTHER = companies.company(), companies.company("Other")
PATHS = {"certificate": "/etc/tls.crt", "key": "/etc/tls.key"}


def chain(of: companies.Company = COMPANY, turn: int = 0, **life: Any) -> list[Certificate]:
    public_key: Any = ec.generate_private_key(ec.SECP256R1()).public_key()
    return of.chain(companies.leaf(of.issuing[turn], public_key, "db1.example", ["db1.example"], **life), turn)


def wanted(**changes: Any) -> target.Target:
    server = servers.Server(type("Cluster", (), {"port": 5432})(), None)  # type: ignore[arg-type]
    ssl_conf = "ssl = 'on'\n"
    given = {"existing": PATHS, "roots": COMPANY.root.pem, "issuing": "", "directory": "/d", "ssl_conf": ssl_conf}
    defaults = {**given, "names": ["db1.example"], **changes}
    server.ssl_conf = lambda: ssl_conf  # type: ignore[method-assign]
    return target.read(server.all_options(**defaults))


IN_USE = chain()
REASONS: list[tuple[list[Certificate], str, bool, list[Certificate], list[str]]] = [
    (IN_USE, "", True, IN_USE, []),
    (IN_USE, "", True, chain(), ["file_changed"]),
    (IN_USE, "", True, chain(turn=1), ["file_changed"]),
    ([], "", True, IN_USE, ["no_certificate"]),
    (IN_USE, "", False, IN_USE, ["key_missing"]),
    (IN_USE, "key values mismatch", True, IN_USE, ["unusable: key values mismatch"]),
]


@pytest.mark.parametrize(("used", "unfit", "has_key", "offered", "expected"), REASONS)
def test_files_are_taken_for_these_reasons(
    used: list[Certificate], unfit: str, has_key: bool, offered: list[Certificate], expected: list[str]
) -> None:
    assert existing.reasons(used, unfit, Offered(offered, b""), has_key=has_key) == expected


# Days of life, days since its begin, renew_before, what a message says (none: it is not late)
LATE: list[tuple[float, float, str | None, str]] = [
    (90, 74, None, ""),
    (90, 76, None, "ends in 14d .* at least 15d left"),
    (90, 76, "10d", ""),
    (90, 81, "10d", "ends in 9d .* at least 10d left"),
    (90, 1, "89d", ""),
    (365, 300, None, ""),
    (365, 310, None, "ends in 55d .* at least 60d left"),
    (6, 4.9, None, ""),
    (6, 5.1, None, "ends in 21h .* at least 1d left"),
    (1, 0.8, None, ""),
    (1, 0.9, None, "ends in 2h .* at least 4h left"),
]


@pytest.mark.parametrize(("life", "age", "before", "said"), LATE)
def test_a_certificate_is_late_in_the_last_sixth_of_its_life(
    life: float, age: float, before: str | None, said: str
) -> None:
    leaf = chain(start=NOW - int(age * DAY), days=life)[0]
    found = existing.late(leaf, wanted(renew_before=before), NOW)
    assert (found is None) is not bool(said)
    if found is not None:
        with pytest.raises(TlsError, match=said):
            raise found


BOTH = COMPANY.root.pem + OTHER.root.pem
SAME_NAME = companies.company()  # another CA of the same name
ROOTS: list[tuple[list[Certificate], list[Certificate], dict[str, Any], bool]] = [
    (IN_USE, chain(turn=1), {}, False),
    ([], chain(OTHER), {"roots": BOTH}, False),
    (IN_USE, chain(OTHER), {"roots": BOTH}, True),
    (IN_USE, chain(OTHER), {"roots": BOTH, "renew": True}, False),
    (chain(OTHER), IN_USE, {}, True),
    (chain(SAME_NAME), IN_USE, {}, True),
    (chain(start=NOW - 20 * DAY, days=10), chain(OTHER), {"roots": BOTH}, False),
]


@pytest.mark.parametrize(("used", "offered", "changes", "is_refused"), ROOTS)
def test_another_root_is_refused_unless_it_is_confirmed_or_nothing_valid_is_in_use(
    used: list[Certificate], offered: list[Certificate], changes: dict[str, Any], is_refused: bool
) -> None:
    found = wanted(**changes)
    if not is_refused:
        existing.refuse_another_root(used, Offered(offered, b""), found, NOW)
        return
    with pytest.raises(TlsError, match="Clients that trust only the former root would be shut out"):
        existing.refuse_another_root(used, Offered(offered, b""), found, NOW)


def test_any_ca_below_the_roots_may_have_issued_it_and_more_roots_may_be_given() -> None:
    assert [one.common_name for one in wanted().issuing] == ["Example Root"]
    more = wanted(existing={**PATHS, "roots": OTHER.root.pem})
    assert [one.common_name for one in more.issuing] == ["Example Root", "Other Root"]
    assert OTHER.root.pem.split("\n")[1] in more.roots


@pytest.mark.parametrize("given", [None, {}, {"certificate": None, "key": "", "roots": ""}])
def test_without_files_certificates_are_requested(given: Any) -> None:
    found = wanted(existing=given, issuing=COMPANY.issuing[0].pem)
    assert found.existing is None
    assert [one.common_name for one in found.issuing] == ["Example Issuing 1"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"certificate": "/a"}, r"existing\.key: found nothing, expected the absolute path"),
        ({"certificate": "tls.crt", "key": "/a"}, r"existing\.certificate: found 'tls\.crt', expected the absolute"),
        ({"certificate": "/a\nb", "key": "/a"}, r"existing\.certificate: found '/a\\nb', expected"),
        ({"roots": COMPANY.root.pem}, r"existing\.certificate: found nothing, expected"),
        ({**PATHS, "roots": "garbage"}, r"existing\.roots: expected PEM certificates"),
    ],
)
def test_what_names_no_files_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(TlsError, match=message):
        wanted(existing=given)


def test_paths_are_kept_as_they_are() -> None:
    assert wanted().existing == Existing("/etc/tls.crt", "/etc/tls.key")
