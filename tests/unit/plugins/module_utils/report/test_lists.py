# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of revoked certificates in reports: who has to make a new one, and when nothing refuses what is revoked."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing, lineage
from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.report import facts, headline, metrics, page, timeline
from ansible_collections.pgops.tls.plugins.module_utils.source import contract, lists
from ansible_collections.pgops.tls.tests import companies, prometheus
from ansible_collections.pgops.tls.tests.shared import DAY, NOW

COMPANY = companies.company()
OWNERS = [COMPANY.issuing[0].read, COMPANY.policy.read, COMPANY.root.read]
OWN = issuing.new_authority("client", "P-256", NOW)
NOT_ENFORCED = "pgops_tls_revoked_certificates_not_enforced"


def of_mount(left: float, *revoked: int, without: str = "") -> dict[str, Any]:
    """Return an authority of OpenBao as a run has it, whose lists have so many days left."""
    given = {"Issuing": COMPANY.issuing[0], "Policy": COMPANY.policy, "Root": COMPANY.root}
    start, serials = NOW - 30 * DAY, {"Issuing": revoked}
    made = [
        companies.as_pem(companies.revocation_list(one, *serials.get(name, ()), start=start, days=30 + left))
        for name, one in given.items()
        if name != without
    ]
    known = lists.read(made, OWNERS, "sources.client", NOW, are_used=True)
    return contract.Trust("openbao", OWNERS[2:], OWNERS[:2], known.crls, known.revoked, known.warnings).facts()


def own(*texts: str, revoked: tuple[str, ...] = ("ff",)) -> dict[str, Any]:
    """Return an own authority with these lists."""
    return lineage.facts(lineage.new(OWN), "".join(texts), revoked)


def own_list(left: float) -> str:
    by, end = issuing.Issuer.of(OWN.issuing, OWN.issuing_key), NOW + int(left * DAY)
    return by.sign_list((), issuing.Validity(end - 90 * DAY, end), 1)


def company_list(left: float, life: int) -> str:
    start = NOW + int((left - life) * DAY)
    return companies.as_pem(companies.revocation_list(COMPANY.root, 1, start=start, days=life))


def report(**authorities: Any) -> dict[str, Any]:
    certificate = {"serial": "1f", "sha256": "ab", "not_after": clock.instant(NOW + 80 * DAY), "reasons": []}
    server = {"server_version": 150018, "certificate": certificate, "counts": {}, "sessions": []}
    return facts.report(facts.Learned({"db1": server}, {}, authorities, []), {}, NOW)


def rows(data: dict[str, Any]) -> list[str]:
    """Return the rows about lists in the page's table of authorities."""
    table = page.text(data).partition("<h2>Authorities</h2>")[2].partition("</table>")[0]
    return [row for row in re.findall("<tr>(.*)</tr>", table) if "revocation list" in row]


@pytest.mark.parametrize(("left", "without"), [(1.4, ""), (20, "Policy")])
def test_revoked_certificates_that_nothing_refuses_are_a_problem(left: float, without: str) -> None:
    found = of_mount(left, 4711, 4712, without=without)
    assert (found["crls"], len(found["revoked"])) == ("", 2), "the run has taken them away"
    data = report(server=of_mount(20), client=found)
    told = "First have the client CA make new revocation lists: without them hosts accept 2 revoked certificates."
    assert headline.of(data) == (False, told)
    assert "client CA: no revocation list that can be used: hosts accept 2 revoked certificates" in facts.summary(data)
    assert len([row for row in rows(data) if ">none: hosts accept 2 revoked certificates<" in row]) == 1
    values = prometheus.parse(metrics.text(data))
    assert [values[NOT_ENFORCED, frozenset({("authority", name)})] for name in ("client", "server")] == [2, 0]


def test_where_nothing_is_revoked_no_list_is_needed_and_own_lists_are_enough() -> None:
    for authority in (of_mount(1.4), own(revoked=()), own(own_list(80)), of_mount(20, 4711)):
        data = report(client=authority)
        assert headline.of(data).is_well
        assert prometheus.parse(metrics.text(data))[NOT_ENFORCED, frozenset({("authority", "client")})] == 0


OF_COMPANY = "have the company make a new list"
OF_MOUNT = "have that CA make a new list"
OF_RUN = "run pgops.tls.site"


@pytest.mark.parametrize(
    ("authority", "remedy", "name"),
    [
        (own(own_list(14.1)), "", ""),
        (own(own_list(13.9)), OF_RUN, OWN.issuing.common_name),
        (of_mount(4.1, 4711), "", ""),  # in a mount that follows the guide they have at least ten days left
        (of_mount(3.9, 4711), OF_MOUNT, "Example Issuing 1"),
        (own(own_list(80), company_list(14.1, 180)), "", ""),
        (own(own_list(80), company_list(13.9, 180)), OF_COMPANY, "Example Root"),
        (own(own_list(80), company_list(1.8, 7)), "", ""),
        (own(own_list(80), company_list(1.7, 7)), OF_COMPANY, "Example Root"),
    ],
)
def test_who_can_make_a_new_list_is_told_when_it_is_time(authority: Any, remedy: str, name: str) -> None:
    data = report(client=authority)
    said = headline.of(data)
    assert said.is_well is not bool(remedy)
    if remedy:
        assert said.text.startswith(f"First {remedy}: the revocation list {name} of the client CA ends on ")
    late = [one for one in timeline.items(data) if one.kind == timeline.CRL and one.is_late]
    assert bool(late) == bool(remedy)
    assert any('class="bad"' in row for row in rows(data)) == bool(remedy)


def test_a_list_that_has_ended_is_told_as_such() -> None:
    text = headline.of(report(client=own(own_list(80), company_list(-1, 7)))).text
    assert text.startswith(f"First {OF_COMPANY}: the revocation list Example Root of the client CA ended on ")


def test_who_manages_a_ca_elsewhere_is_asked_for_another_one() -> None:
    for kind, place in (("root", 0), ("issuing", -1)):
        data = report(client=of_mount(20))
        data["authorities"]["client"]["certificates"][place]["not_after"] = clock.instant(NOW + DAY)
        assert f"First ask who manages the client CA for a new {kind}: the {kind} Example" in headline.of(data).text
