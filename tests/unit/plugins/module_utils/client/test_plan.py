# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.client import plan, target, user_files
from ansible_collections.pgops.tls.plugins.module_utils.client.home import HomeFiles
from ansible_collections.pgops.tls.plugins.module_utils.client.identities import Identity
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate
from ansible_collections.pgops.tls.tests.shared import DAY, NOW
from cryptography.hazmat.primitives.asymmetric import ec

SERVER, CLIENT = (issuing.new_authority(name, "P-256", NOW - DAY) for name in ("server", "client"))
APP, REPORTING = Identity("app", "alice"), Identity("reporting", "alice")
LINKS = {"/home/alice/.postgresql/root.crt": "pgops/current/root.crt"}
LAYOUT = plan.Layout(LINKS, "/home/alice/.pg_service.conf", b"services")


def options(**changes: Any) -> dict[str, Any]:
    return {
        "identities": [{"role": "app", "os_user": "alice"}, {"role": "reporting", "os_user": "alice"}],
        "key_type": "P-256",
        "roots": SERVER.root.pem,
        "issuing": CLIENT.issuing.pem,
        "trusted_clients": CLIENT.root.pem,
        **changes,
    }


def wanted(**changes: Any) -> target.Target:
    return target.read(options(**changes), NOW)


def chain(role: str = "app", start: int = NOW - DAY, days: int = 90) -> str:
    leaf = issuing.new_leaf(
        issuing.Issuer.of(CLIENT.issuing, CLIENT.issuing_key),
        certificate.CLIENT_AUTH,
        issuing.Holder(role, ()),
        ec.generate_private_key(ec.SECP256R1()).public_key(),
        issuing.Validity(start, start + days * DAY),
    )
    return certificate.read_der(leaf, "leaf").pem + CLIENT.issuing.pem


def credential(role: str, **when: int) -> user_files.Credential:
    text = chain(role, **when)
    return user_files.Credential(text.encode(), b"key of " + role.encode(), certificate.read_pem(text, "chain")[0])


def installed(*roles: str, **changes: Any) -> HomeFiles:
    """Return what is found where everything is as wanted for these roles, except for ``changes``."""
    made = user_files.contents({Identity(role, "alice"): credential(role) for role in roles}, wanted())
    found = HomeFiles("0001", {path: file.content for path, file in made.items()}, {}, {}, dict(LINKS), b"services")
    return found._replace(**changes)


NO_FILES = HomeFiles(None, {}, {}, {}, dict.fromkeys(LINKS), None)


def make(found: HomeFiles, needed: dict[str, list[str]] | None = None, **changes: Any) -> plan.Plan:
    return plan.make([APP, REPORTING], plan.Needs(needed or {}, []), found, wanted(**changes), LAYOUT)


def test_where_everything_is_as_wanted_there_is_nothing_to_do() -> None:
    found = make(installed("app", "reporting"))
    assert (found.changes, found.generation, found.links, found.service) == ([], False, {}, None)


def test_on_a_new_host_everything_is_to_be_made() -> None:
    found = make(NO_FILES, {"app": ["no_certificate"], "reporting": ["no_certificate"]})
    assert found.generation
    assert found.links == LINKS
    assert found.service == b"services"
    assert found.changes == [
        "alice/app: new certificate (no_certificate)",
        "alice/reporting: new certificate (no_certificate)",
        f"alice: root.crt holds {SERVER.root.common_name!r}",
        "/home/alice/.postgresql/root.crt: link to pgops/current/root.crt",
        "/home/alice/.pg_service.conf: services app, reporting",
    ]


def test_a_link_or_service_alone_needs_no_generation() -> None:
    found = make(installed("app", "reporting", links={"/home/alice/.postgresql/root.crt": ""}, service=b"old"))
    assert not found.generation
    assert len(found.changes) == 2
    assert "stays beside it as .before-pgops" in found.changes[0]


def test_other_roots_need_a_generation_and_no_certificate() -> None:
    found = make(installed("app", "reporting"), roots=SERVER.root.pem + CLIENT.root.pem)
    assert (found.generation, found.reasons, len(found.changes)) == (True, {}, 1)


def test_a_fault_of_a_file_that_is_replaced_anyway_is_not_told_twice() -> None:
    faults = {"app/postgresql.key": "wrong mode", "reporting/postgresql.key": "wrong owner", "gone/postgresql.key": "x"}
    found = make(installed("app", "reporting", faults=faults), {"app": ["forced"]})
    assert found.changes == ["alice/app: new certificate (forced)", "wrong owner"]


def test_a_role_that_is_no_longer_declared_goes() -> None:
    found = make(installed("app", "reporting", "old"))
    assert found.changes == ["alice/old: no longer declared, its key and certificate are removed"]


@pytest.mark.parametrize(
    ("lost", "reason"),
    [
        ("app/postgresql.crt", "no_certificate"),
        ("app/postgresql.key", "key_missing"),
    ],
)
def test_a_lost_file_is_a_reason(lost: str, reason: str) -> None:
    found = installed("app", "reporting")
    contents = {path: content for path, content in found.contents.items() if path != lost}
    assert plan.reasons(APP, found._replace(contents=contents), wanted(), NOW) == [reason]
    assert plan.reasons(REPORTING, found, wanted(), NOW) == []


def test_a_damaged_certificate_is_a_reason() -> None:
    found = installed("app")
    contents = {**found.contents, "app/postgresql.crt": b"-----BEGIN CERTIFICATE-----\n"}
    assert plan.reasons(APP, found._replace(contents=contents), wanted(), NOW) == ["certificate_damaged"]


def test_the_clock_is_a_reason_from_two_thirds_of_the_life_on_at_the_latest() -> None:
    found, due = installed("app"), NOW - DAY + 60 * DAY
    assert plan.reasons(APP, found, wanted(), due - 8 * DAY) == []
    assert plan.reasons(APP, found, wanted(), due) == ["expires_in_30d"]


def test_renewing_is_forced_until_the_certificate_that_came_is_installed() -> None:
    found = installed("app")
    text = found.contents["app/postgresql.crt"].decode()
    assert plan.reasons(APP, found, wanted(renew=True), NOW) == ["forced"]
    assert plan.reasons(APP, found, wanted(renew=True, certificates={"alice/app": chain()}), NOW) == ["forced"]
    assert plan.reasons(APP, found, wanted(renew=True, certificates={"alice/app": text}), NOW) == []


def test_without_certificates_everything_needed_is_asked_for() -> None:
    needed = {"app": ["no_certificate"], "reporting": []}
    assert plan.unanswered([APP, REPORTING], needed, NO_FILES, wanted()) == [APP]


def test_what_became_due_between_the_two_calls_waits_for_the_next_run() -> None:
    needed = {"app": ["forced"], "reporting": ["expires_in_30d"]}
    answer = wanted(certificates={"alice/app": chain()})
    assert plan.unanswered([APP, REPORTING], needed, installed("app", "reporting"), answer) == []
    with pytest.raises(TlsError, match=r"there is none for alice/reporting, which needs one \(expires_in_30d\)"):
        plan.unanswered([APP, REPORTING], needed, installed("app"), answer)


def test_the_manifest_describes_the_generation_and_holds_no_key() -> None:
    made = user_files.contents({APP: credential("app")}, wanted())
    text = made["manifest.json"].content.decode()
    assert '"app"' in text
    assert "key of app" not in text
    assert {path: file.mode for path, file in made.items()} == {
        "root.crt": 0o644,
        "manifest.json": 0o644,
        "app/postgresql.crt": 0o644,
        "app/postgresql.key": 0o600,
    }


# The module's options


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"roots": ""}, "roots: expected PEM certificates, found nothing"),
        ({"roots": SERVER.issuing.pem}, "roots: expected at least one self-signed root that is valid now"),
        (
            {"roots": chain()},
            "roots: expected certificates of authorities, or self-signed .*, found one of 'app', a leaf",
        ),
        ({"trusted_clients": CLIENT.issuing.pem}, "trusted_clients: expected at least one self-signed root"),
        ({"issuing": chain()}, "issuing: expected certificates of authorities, found one of 'app', a leaf"),
        ({"issuing": "-----BEGIN PRIVATE KEY-----\nMII"}, "issuing: expected only what is public, found a private key"),
        ({"renew_before": "30"}, "renew_before: '30' is not a duration"),
        ({"certificates": {"alice/other": chain()}}, "certificates: 'alice/other' is not an identity"),
        ({"certificates": {"alice/app": "garbage"}}, "certificates: alice/app: expected PEM certificates"),
    ],
)
def test_options_that_cannot_be_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(TlsError, match=told):
        wanted(**changes)


def test_a_root_that_has_expired_is_no_trust() -> None:
    with pytest.raises(TlsError, match="roots: expected at least one self-signed root that is valid now"):
        target.read(options(), NOW + 11 * 365 * DAY)
