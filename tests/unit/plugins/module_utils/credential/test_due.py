from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing, profiles
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.credential import due, spec
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import Name
from ansible_collections.pgops.tls.tests import companies
from ansible_collections.pgops.tls.tests.shared import DAY
from cryptography.hazmat.primitives.asymmetric import ec

START = 1_800_000_000
END = START + 90 * DAY
CERTIFICATE_NAMES = (Name("dns", "db1.example"), Name("ip", "192.0.2.1"))


@pytest.fixture(scope="module")
def authority() -> issuing.Authority:
    return issuing.new_authority("server", "P-256", START)


@pytest.fixture(scope="module")
def leaf(authority: issuing.Authority) -> Certificate:
    der = issuing.new_leaf(
        issuing.Issuer.of(authority.issuing, authority.issuing_key),
        profiles.purpose("server"),
        issuing.Holder("db1.example", CERTIFICATE_NAMES),
        ec.generate_private_key(ec.SECP256R1()).public_key(),
        issuing.Validity(START, END),
    )
    return certificate.read_der(der, "leaf")


@pytest.fixture(scope="module")
def wish(authority: issuing.Authority) -> spec.Spec:
    return spec.Spec("db1.example", CERTIFICATE_NAMES, "P-256", certificate.SERVER_AUTH, [authority.issuing])


def test_a_fresh_certificate_as_wished_stays(leaf: Certificate, wish: spec.Spec) -> None:
    assert due.reasons(leaf, wish, START) == []


def test_no_certificate_is_a_reason(wish: spec.Spec) -> None:
    assert due.reasons(None, wish, START) == ["no_certificate"]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (START - 1, ["not_valid_for_another_0m"]),
        (START - DAY, ["not_valid_for_another_1d"]),
        (START + 52 * DAY, []),
        (START + 60 * DAY, ["expires_in_30d"]),
        (END - 1, ["expires_in_0m"]),
        (END, ["expired_0m_ago"]),
        (END + 3 * DAY, ["expired_3d_ago"]),
    ],
)
def test_the_clock_decides_at_two_thirds_of_life_at_the_latest(
    leaf: Certificate, wish: spec.Spec, now: int, expected: list[str]
) -> None:
    assert due.reasons(leaf, wish, now) == expected


def test_each_certificate_is_due_at_its_own_moment_within_a_twelfth_of_its_life(
    leaf: Certificate, wish: spec.Spec
) -> None:
    moment = START + 60 * DAY - due.spread(leaf.sha256, 90 * DAY)
    assert due.reasons(leaf, wish, moment - 1) == []
    assert due.reasons(leaf, wish, moment) == [f"expires_in_{(END - moment) // DAY}d"]
    earlier = [due.spread(f"{number:04x}" + "0" * 60, 90 * DAY) for number in range(0, 0x10000, 655)]
    assert earlier[0] == 0
    assert 7 * DAY < max(earlier) < 8 * DAY
    nights = [seconds // DAY for seconds in earlier]
    assert max(nights.count(night) for night in nights) <= len(nights) // 7


@pytest.mark.parametrize(
    ("renew_before", "now", "is_due"),
    [
        (10 * DAY, END - 10 * DAY - 1, False),
        (10 * DAY, END - 10 * DAY, True),
        (80 * DAY, END - 80 * DAY, True),
        (80 * DAY, END - 80 * DAY - 1, False),
        (1000 * DAY, START, True),
    ],
)
def test_a_wished_time_before_the_end_replaces_two_thirds(
    leaf: Certificate, wish: spec.Spec, renew_before: int, now: int, is_due: bool
) -> None:
    assert bool(due.reasons(leaf, wish._replace(renew_before=renew_before), now)) is is_due


def test_a_certificate_is_never_due_before_it_starts(leaf: Certificate, wish: spec.Spec) -> None:
    assert due.due_at(leaf, wish._replace(renew_before=1000 * DAY)) == START


@pytest.mark.parametrize(
    ("renew_before", "moment"),
    [
        (None, END - 30 * DAY),
        (10 * DAY, END - 10 * DAY),
        (30 * DAY + 1, END - 30 * DAY),
        (80 * DAY, END - 30 * DAY),
        (1000 * DAY, END - 30 * DAY),
    ],
)
def test_a_certificate_that_ends_with_its_issuer_is_not_renewed_before_two_thirds_of_its_life(
    leaf: Certificate, wish: spec.Spec, renew_before: int | None, moment: int
) -> None:
    ends_with_it = wish._replace(issuing=[wish.issuing[0]._replace(not_after=END)], renew_before=renew_before)
    assert due.reasons(leaf, ends_with_it, moment - 1) == []
    assert due.reasons(leaf, ends_with_it, moment) == [f"expires_in_{(END - moment) // DAY}d"]


@pytest.mark.parametrize(
    ("renew_before", "now", "left"),
    [(90 * DAY, START, "90d"), (90 * DAY - 300, START + 300, "89d"), (1000 * DAY, START + 52 * DAY, "38d")],
)
def test_a_certificate_that_is_due_as_soon_as_it_comes_is_refused_with_the_option_to_change(
    leaf: Certificate, wish: spec.Spec, renew_before: int, now: int, left: str
) -> None:
    message = rf"^renew_before: .*{renew_before // DAY}d before .* {left} left of its life of 90d.* every run\. Choose"
    with pytest.raises(TlsError, match=message):
        due.refuse_endless_renewal(leaf, wish._replace(renew_before=renew_before), now)


@pytest.mark.parametrize(
    ("renew_before", "now"),
    [(None, END), (90 * DAY - 301, START + 300), (1000 * DAY, START + 60 * DAY)],
    ids=["not asked for", "due a second later", "old whatever was asked for"],
)
def test_nothing_else_is_called_an_endless_renewal(
    leaf: Certificate, wish: spec.Spec, renew_before: int | None, now: int
) -> None:
    due.refuse_endless_renewal(leaf, wish._replace(renew_before=renew_before), now)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"names": (*CERTIFICATE_NAMES, Name("dns", "db2.example"))}, ["san_missing: db2.example"]),
        ({"names": CERTIFICATE_NAMES[:1]}, ["san_not_wanted: 192.0.2.1"]),
        (
            {"names": (Name("dns", "192.0.2.1"), CERTIFICATE_NAMES[0])},
            ["san_missing: 192.0.2.1", "san_not_wanted: 192.0.2.1"],
        ),
        ({"names": tuple(reversed(CERTIFICATE_NAMES))}, []),
        ({"common_name": "db2.example"}, ["common_name: db1.example instead of db2.example"]),
        ({"common_name": None}, []),
        ({"key_type": "Ed25519"}, ["key_type: P-256 instead of Ed25519"]),
        ({"extended_key_usage": certificate.CLIENT_AUTH}, ["profile: extended key usage"]),
        ({"forced": True}, ["forced"]),
    ],
)
def test_every_difference_has_its_reason(
    leaf: Certificate, wish: spec.Spec, changed: dict[str, Any], expected: list[str]
) -> None:
    assert due.reasons(leaf, wish._replace(**changed), START) == expected


def test_another_issuing_ca_is_a_reason(leaf: Certificate, wish: spec.Spec, authority: issuing.Authority) -> None:
    other = issuing.new_authority("server", "P-256", START).issuing
    assert due.reasons(leaf, wish._replace(issuing=[other]), START) == ["issuer_changed"]
    same_name = other._replace(subject=authority.issuing.subject)
    assert due.reasons(leaf, wish._replace(issuing=[same_name]), START) == ["issuer_changed"]
    same_key = other._replace(subject_key_id=authority.issuing.subject_key_id)
    assert due.reasons(leaf, wish._replace(issuing=[same_key]), START) == ["issuer_changed"]


def test_what_an_earlier_issuing_ca_issued_stays(
    leaf: Certificate, wish: spec.Spec, authority: issuing.Authority
) -> None:
    later = issuing.new_authority("server", "P-256", START).issuing._replace(not_after=END)
    assert due.reasons(leaf, wish._replace(issuing=[later, authority.issuing]), START) == []
    ends_with_the_earlier = wish._replace(
        issuing=[later._replace(not_after=END + 1), authority.issuing._replace(not_after=END)], renew_before=89 * DAY
    )
    assert due.reasons(leaf, ends_with_the_earlier, START + 2 * DAY) == ["expires_in_88d"]


def test_all_reasons_are_given(leaf: Certificate, wish: spec.Spec) -> None:
    wanted = wish._replace(names=CERTIFICATE_NAMES[:1], key_type="P-384", forced=True)
    assert due.reasons(leaf, wanted, END) == [
        "expired_0m_ago",
        "san_not_wanted: 192.0.2.1",
        "key_type: P-256 instead of P-384",
        "forced",
    ]


PATH = "/etc/tls/server.crt"


def refuse(chain: list[Certificate], offered: issuing.Authority, *roots: Certificate, now: int = START) -> None:
    due.refuse_another_root(chain, PATH, spec.Offer([offered.issuing], [offered.root, *roots]), now)


def test_a_certificate_below_another_root_is_refused(leaf: Certificate, authority: issuing.Authority) -> None:
    other = issuing.new_authority("server", "P-256", START)
    with pytest.raises(TlsError) as caught:
        refuse([leaf, authority.issuing], other)
    told = caught.value.message
    assert told.startswith("/etc/tls/server.crt: ")
    names = [authority.issuing.common_name, authority.root.common_name, other.issuing.common_name]
    wanted = ("Nothing was changed", "directory of module certificate_authority", "backup", "with renew: true")
    for part in (*names, *wanted):
        assert part in told


def test_a_new_issuing_ca_below_a_trusted_root_is_not_refused(leaf: Certificate, authority: issuing.Authority) -> None:
    other = issuing.new_authority("server", "P-256", START)
    refuse([leaf, authority.issuing], authority._replace(issuing=other.issuing))
    refuse([leaf, authority.issuing], other, authority.root)


def test_an_issuing_ca_far_below_a_trusted_root_is_not_refused(leaf: Certificate, authority: issuing.Authority) -> None:
    """A company has CAs between its root and ours; another own root is about to take over, or back."""
    other, company = issuing.new_authority("server", "P-256", START), companies.company()
    below = authority.issuing._replace(
        issuer=company.policy.read.subject, authority_key_id=company.policy.read.subject_key_id
    )
    for between in ([other.issuing, company.policy.read], [other.issuing]):
        offered = spec.Offer(between, [other.root, company.root.read])
        if len(between) > 1:
            due.refuse_another_root([leaf, below, company.policy.read], PATH, offered, START)
        else:
            with pytest.raises(TlsError):
                due.refuse_another_root([leaf, below, company.policy.read], PATH, offered, START)


@pytest.mark.parametrize("changed", ["subject", "subject_key_id"])
def test_a_root_is_the_same_only_with_name_and_key(
    leaf: Certificate, authority: issuing.Authority, changed: str
) -> None:
    other = issuing.new_authority("server", "P-256", START)
    value = getattr(other.root, changed)
    with pytest.raises(TlsError, match="below another root"):
        refuse([leaf, authority.issuing], other, authority.root._replace(**{changed: value}))


def test_the_authority_itself_is_not_refused_whatever_roots_are_known(
    leaf: Certificate, authority: issuing.Authority
) -> None:
    other = issuing.new_authority("server", "P-256", START)
    refuse([leaf, authority.issuing], authority._replace(root=other.root))


@pytest.mark.parametrize("now", [START - 1, END])
def test_a_certificate_that_nobody_can_use_is_not_refused(
    leaf: Certificate, authority: issuing.Authority, now: int
) -> None:
    refuse([leaf, authority.issuing], issuing.new_authority("server", "P-256", START), now=now)


def test_what_an_earlier_issuing_ca_issued_is_not_refused(leaf: Certificate, authority: issuing.Authority) -> None:
    later = issuing.new_authority("server", "P-256", START)
    offer = spec.Offer([later.issuing, authority.issuing], [later.root])
    due.refuse_another_root([leaf, authority.issuing], PATH, offer, START)


def test_what_the_authority_does_not_make_is_not_refused(leaf: Certificate, authority: issuing.Authority) -> None:
    other = issuing.new_authority("server", "P-256", START)
    refuse([leaf], other)
    refuse([authority.root, authority.root], other)
    below_root = leaf._replace(issuer=authority.root.subject, authority_key_id=authority.root.subject_key_id)
    refuse([below_root, authority.root], other)


def test_serial_numbers_of_revoked_certificates_are_known_in_any_case_and_with_leading_zeros() -> None:
    assert spec.serials(["4F2A", "004f2b", 10], "revoked") == ["4f2a", "4f2b", "10"]
    assert spec.serials((), "revoked") == []


@pytest.mark.parametrize("wrong", ["4f:2a", "0x4f", "", " 4f", "-1", "g", "1" * 41, None, 1.5])
def test_what_is_no_serial_number_is_not_passed_over(wrong: Any) -> None:
    with pytest.raises(TlsError, match=r"^revoked: found .*, expected a list of serial numbers in hexadecimal, such"):
        spec.serials(["4f2a", wrong], "revoked")


@pytest.mark.parametrize(
    ("present", "reasons"),
    [
        ({}, []),
        ({"chain": [], "is_there": False}, ["no_certificate"]),
        ({"chain": [], "is_there": False, "has_key": False}, ["no_certificate"]),
        ({"chain": []}, ["certificate_damaged"]),
        ({"chain": [], "has_key": False}, ["no_certificate"]),
        ({"has_key": False}, ["key_missing"]),
        ({"has_key": False, "unfit": "they do not fit"}, ["key_missing"]),
        ({"unfit": "they do not fit"}, ["unusable: they do not fit"]),
    ],
)
def test_a_host_needs_a_certificate_for_what_it_lacks(
    leaf: Certificate, wish: spec.Spec, authority: issuing.Authority, present: dict[str, Any], reasons: list[str]
) -> None:
    whole = due.Present([leaf, authority.issuing], is_there=True, has_key=True)
    assert due.needed(whole._replace(**present), wish, START) == reasons


def test_a_chain_without_its_issuer_is_incomplete_whatever_else_is_wrong_with_it(
    leaf: Certificate, wish: spec.Spec
) -> None:
    alone = due.Present([leaf], is_there=True, has_key=True, unfit="they do not fit")
    assert due.needed(alone, wish, START) == ["chain_incomplete"]
    assert due.needed(alone, wish._replace(forced=True), START) == ["forced"]
    assert due.needed(alone._replace(has_key=False), wish._replace(forced=True), START) == ["forced", "key_missing"]


@pytest.mark.parametrize(
    ("reasons", "stays"),
    [
        (["expires_in_12d"], True),
        (["expired_3d_ago", "issuer_changed", "forced"], True),
        (["common_name: app instead of report", "profile: extended key usage"], True),
        (["revoked"], False),
        (["forced", "key_type: P-256 instead of P-384"], False),
        (["key_missing"], False),
        (["certificate_damaged"], False),
        (["unusable: they do not fit"], False),
        (["no_certificate"], False),
    ],
)
def test_a_key_stays_where_nothing_is_held_against_it(reasons: list[str], stays: bool) -> None:
    assert due.may_keep_key(reasons) == stays
