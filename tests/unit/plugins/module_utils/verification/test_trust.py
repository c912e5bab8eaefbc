# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a file of roots and an endpoint: a table of files against one provider with two generations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.verification import trust
from ansible_collections.pgops.tls.plugins.module_utils.x509 import names
from ansible_collections.pgops.tls.tests import companies
from ansible_collections.pgops.tls.tests.companies import as_read
from ansible_collections.pgops.tls.tests.providers import NAMES, Generation, root
from ansible_collections.pgops.tls.tests.shared import DAY, NOW

OLD, NEW = Generation.made(1), Generation.made(2)
ENDING = root("Ending", days=80)
ENDED = root("Ended", start=NOW - 100 * DAY, days=50)
G1, G2, BELOW = OLD.root.read, NEW.root.read, OLD.issuing.read
CHAIN = [as_read(OLD.leaf()[0]), BELOW]
WANTED = [names.parse(one, "test") for one in NAMES]
REFUSED = "unable to get local issuer certificate"


def row(trusted: Sequence[Any], refused: str = "", wanted: Sequence[names.Name] = WANTED, days: int = 0) -> Any:
    return trust.row(trusted, CHAIN, wanted, refused, NOW + days * DAY)


FILES = {
    "both generations": ([G1, G2], "", []),
    "the current root alone": ([G1], "", ["only_root"]),
    "the next root alone": ([G2], REFUSED, ["root_missing"]),
    "an issuing CA in place of its root": ([BELOW], REFUSED, ["root_missing", "intermediate_trusted"]),
    "an issuing CA beside the roots": ([G1, G2, BELOW], "", ["intermediate_trusted"]),
    "a root that has ended": ([G1, G2, ENDED.read], "", ["root_expired"]),
    "the root, and what OpenSSL refuses for another reason": ([G1, G2], "certificate has expired", ["chain_refused"]),
}


@pytest.mark.parametrize("name", FILES)
def test_files_and_what_is_found(name: str) -> None:
    trusted, refused, findings = FILES[name]
    found = row(trusted, refused)
    assert found["findings"] == findings
    assert found["root"] == "CN=Provider Root G1"
    assert found["holds_root"] == (G1 in trusted)
    assert set(found["verify_full"].values()) == {refused}
    assert (found["root_not_after"] is None) == (G1 not in trusted)


def test_what_ends_soon() -> None:
    chain = [as_read(companies.leaf(ENDING, OLD.leaf()[1].public_key(), "x", NAMES, days=20))]
    found = trust.row([ENDING.read, G1], chain, WANTED, "", NOW)
    assert found["findings"] == ["root_ends_soon"]
    assert trust.row([ENDING.read, G1], chain, WANTED, "", NOW - 21 * DAY)["findings"] == []
    assert trust.row([ENDING.read, G1], chain, WANTED, "", NOW + 7 * DAY)["findings"][0] == "certificate_ends_soon"


def test_a_root_that_an_older_one_has_signed_is_a_root_where_it_is_trusted() -> None:
    crossed = companies.authority("Provider Root G1", NEW.root, key=OLD.root.key).read
    chain = [*CHAIN, crossed]
    assert trust.root_of(chain, [G1]).certificate == G1
    assert trust.root_of(chain, [G2]).certificate == G2
    assert trust.root_of(chain, []) == trust.Root("CN=Provider Root G2", None)


def test_a_chain_that_leads_in_a_circle_ends() -> None:
    first = companies.authority("A")
    second = companies.authority("B", first)
    circle = companies.authority("A", second, key=first.key)
    leaf = as_read(companies.leaf(second, OLD.leaf()[1].public_key(), "x"))
    assert trust.root_of([leaf, second.read, circle.read], []).certificate is None


# Names of a certificate, its common name, a name to connect by, and whether libpq 15 and newer takes it
MATCHES = [
    (("db.example.com",), "x", "db.example.com", True),
    (("db.example.com",), "alias.example.com", "alias.example.com", False),  # the common name counts no more
    (("*.example.com",), "x", "db.example.com", True),
    (("*.example.com",), "x", "a.db.example.com", False),
    ((), "DB.example.com", "db.example.com", True),
    ((), "project:instance", "192.0.2.7", False),
    (("192.0.2.7",), "db.example.com", "db.example.com", True),  # only an address beside it
    (("192.0.2.7",), "x", "192.0.2.7", True),
    (("db.example.com",), "192.0.2.7", "192.0.2.7", True),  # no address beside it
    (("192.0.2.8",), "192.0.2.7", "192.0.2.7", False),
]


@pytest.mark.parametrize(("own", "common_name", "wanted", "is_accepted"), MATCHES)
def test_names_are_judged_as_libpq_does(own: Sequence[str], common_name: str, wanted: str, is_accepted: bool) -> None:
    leaf = as_read(OLD.leaf(own, common_name=common_name)[0])
    problem = trust.name_problem(leaf, names.parse(wanted, "test"))
    assert (problem == "") == is_accepted, problem
    found = trust.row([G1, G2], [leaf, BELOW], [names.parse(wanted, "test")], "", NOW)
    assert found["findings"] == ([] if is_accepted else ["name_missing"])
