# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows from what was found: reasons, files, edits and words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.generations import File
from ansible_collections.pgops.tls.plugins.module_utils.postgres import configuration
from ansible_collections.pgops.tls.plugins.module_utils.server import difference, plan, target
from ansible_collections.pgops.tls.plugins.module_utils.server.found import (
    CERTIFICATE,
    CONF,
    KEY,
    LISTS,
    TRUSTED,
    Found,
    leaf_of,
)
from ansible_collections.pgops.tls.plugins.module_utils.server.generation import files_to_stage
from ansible_collections.pgops.tls.plugins.module_utils.x509 import certificate, names
from ansible_collections.pgops.tls.tests.shared import DAY, NOW
from cryptography.hazmat.primitives.asymmetric import ec


@dataclass
class Desk:
    """Makes targets of the module's options, and what is found where nothing is left to do for them."""

    server: issuing.Authority
    client: issuing.Authority
    other: issuing.Authority

    def target(self, **changes: Any) -> target.Target:
        options = {
            "port": 5432,
            "directory": "/d",
            "names": ["db1.example"],
            "key_type": "P-256",
            "roots": self.server.root.pem,
            "trusted_clients": self.client.root.pem,
            "extra_trusted_clients": "",
            "issuing": self.server.issuing.pem,
            "certificate": None,
            "crls": "",
            "revoked": [],
            "ssl_conf": "ssl = 'on'\n",
            "hba": "hostssl all app all cert",
            "hba_mode": "block",
            "upgrade_clientcert": False,
            "ident": "",
            "plaintext": "unchanged",
            "on_lockout": "refuse",
            "clients": [],
            "databases": [],
            "renew": False,
            "renew_before": None,
            "remove_directory": False,
            "host": "db1",
            "former_host": "",
        }
        return target.read({**options, **changes})

    def chain(self, authority: issuing.Authority | None = None, *, age: int = DAY, name: str = "db1.example") -> str:
        """Return a chain for a server, whose leaf was issued ``age`` seconds ago for 90 days."""
        issuer = authority or self.server
        leaf = issuing.new_leaf(
            issuing.Issuer.of(issuer.issuing, issuer.issuing_key),
            certificate.SERVER_AUTH,
            issuing.Holder(name, tuple(names.parse_all([name], "names"))),
            ec.generate_private_key(ec.SECP256R1()).public_key(),
            issuing.Validity(NOW - age, NOW - age + 90 * DAY),
        )
        return certificate.read_der(leaf, "leaf").pem + issuer.issuing.pem

    def found(self, chain: str | None = None, **changes: Any) -> Found:
        """Return what is found where everything is as declared, except for ``changes``."""
        text = chain or self.chain()
        contents = {
            CERTIFICATE: text.encode(),
            KEY: b"a key",
            TRUSTED: self.client.root.pem.encode(),
            CONF: b"ssl = 'on'\n",
        }
        served = certificate.read_pem(text, "chain")[0].sha256
        nothing = Found(contents, [], "", "local all postgres peer\n", "", served)
        settled = self.plan(nothing, renew=True)
        texts = {one.name: one.after for one in [*settled.rules, *([settled.config] if settled.config else [])]}
        there = nothing._replace(config=texts["postgresql.conf"], hba=texts["pg_hba.conf"])
        return there._replace(**changes)

    def plan(self, there: Found, **changes: Any) -> plan.Plan:
        return plan.make(self.target(**changes), there, plan.Management("postgres", "postgres"), NOW)


@pytest.fixture(scope="session")
def desk() -> Desk:
    server, client, other = (issuing.new_authority(name, "P-256", NOW - DAY) for name in ("server", "client", "server"))
    return Desk(server, client, other)


def without(desk: Desk, *names: str) -> dict[str, bytes]:
    """Return a generation that is as declared, without some of its files."""
    return {name: content for name, content in desk.found().generation.items() if name not in names}


def test_where_everything_is_as_declared_there_is_nothing_to_do(desk: Desk) -> None:
    assert desk.plan(desk.found()) == plan.Plan([], None, None, [], [], relies_on_log=False)
    assert desk.plan(desk.found()).is_empty


@pytest.mark.parametrize(
    ("missing", "unfit", "reasons"),
    [
        ((CERTIFICATE, KEY), "", ["no_certificate"]),
        ((KEY,), "", ["key_missing"]),
        ((KEY,), "they do not fit", ["key_missing"]),
        ((), "they do not fit", ["unusable: they do not fit"]),
        ((CERTIFICATE,), "they do not fit", ["no_certificate"]),
    ],
)
def test_what_is_missing_or_of_no_use_is_a_reason(
    desk: Desk, missing: tuple[str, ...], unfit: str, reasons: list[str]
) -> None:
    found = desk.plan(desk.found(generation=without(desk, *missing), unfit=unfit))
    assert found.reasons == reasons
    assert found.contents is not None


@pytest.mark.parametrize(
    ("damage", "reasons"),
    [
        (lambda _chain: "garbage", ["certificate_damaged"]),
        (lambda chain: chain.split("-\n-")[0] + "-\n", ["chain_incomplete"]),
    ],
)
def test_a_damaged_chain_is_a_reason(desk: Desk, damage: Any, reasons: list[str]) -> None:
    there = desk.found()
    chain = damage(there.generation[CERTIFICATE].decode()).encode()
    assert desk.plan(there._replace(generation={**there.generation, CERTIFICATE: chain})).reasons == reasons


def test_reasons_of_the_certificate_come_first_and_hide_that_it_is_of_no_use(desk: Desk) -> None:
    found = desk.plan(desk.found(desk.chain(age=80 * DAY), unfit="they do not fit"))
    assert found.reasons == ["expires_in_10d"]
    assert desk.plan(desk.found(desk.chain(age=80 * DAY), generation=without(desk, KEY)), renew=True).reasons == [
        "forced",
        "key_missing",
    ]


def test_a_certificate_of_other_authorities_stops_the_plan_unless_a_renewal_is_asked_for(desk: Desk) -> None:
    there = desk.found(desk.chain(desk.other))
    with pytest.raises(TlsError, match=r"^/d/current/server\.crt: .* run with renew: true"):
        desk.plan(there)
    assert desk.plan(there, renew=True).reasons == ["issuer_changed", "forced"]


@pytest.mark.parametrize(
    ("option", "value", "name"), [("trusted_clients", "other", TRUSTED), ("ssl_conf", "ssl = 'on'\nx = '1'\n", CONF)]
)
def test_what_differs_from_what_is_declared_is_staged_beside_what_stays(
    desk: Desk, option: str, value: str, name: str
) -> None:
    there = desk.found()
    text = desk.other.root.pem if value == "other" else value
    found = desk.plan(there, **{option: text})
    assert found.contents == {**there.generation, name: text.encode()}
    assert (found.reasons, found.relies_on_log) == ([], True)


def test_the_chain_loses_what_leads_to_a_root_that_nobody_trusts_any_more(desk: Desk) -> None:
    there = desk.found()
    longer = there.generation[CERTIFICATE] + desk.other.root.pem.encode()
    found = desk.plan(there._replace(generation={**there.generation, CERTIFICATE: longer}))
    assert found.contents is not None
    assert found.contents[CERTIFICATE] == there.generation[CERTIFICATE]
    assert len(found.changes) == 1
    assert found.relies_on_log


def test_a_chain_that_is_replaced_is_not_shortened_as_well(desk: Desk) -> None:
    there = desk.found()
    longer = there.generation[CERTIFICATE] + desk.other.root.pem.encode()
    found = desk.plan(there._replace(generation={**there.generation, CERTIFICATE: longer}), renew=True)
    assert found.changes == ["certificate: forced"]


@pytest.mark.parametrize(
    ("changes", "words", "relies_on_log"),
    [
        ({"served": "another"}, ["reload: the server shows another certificate than the one on disk"], False),
        ({"served": ""}, ["reload: the server shows another certificate than the one on disk"], False),
        ({"drift": ("ssl is off",)}, ["reload: ssl is off"], True),
        (
            {"drift": ("ssl is off",), "served": ""},
            ["reload: the server shows another certificate than the one on disk"],
            False,
        ),
        ({"config": ""}, ["postgresql.conf: changed"], True),
        ({"config": "", "drift": ("ssl is off",)}, ["postgresql.conf: changed"], True),
        ({"config": "", "served": ""}, None, False),
    ],
)
def test_a_server_that_does_not_use_its_files_is_reloaded(
    desk: Desk, changes: dict[str, Any], words: list[str] | None, relies_on_log: bool
) -> None:
    found = desk.plan(desk.found(**changes))
    if words is not None:
        assert found.changes == words
    assert (found.reasons, found.contents, found.relies_on_log) == ([], None, relies_on_log)


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({"drift": ("ssl is off",)}, {}),
        ({"repairs": ["server.key: mode 0644, expected 0600"]}, {}),
        ({"config": ""}, {}),
        ({}, {"ssl_conf": "ssl = 'on'\nx = '1'\n"}),
    ],
)
def test_without_a_log_a_new_certificate_proves_that_the_server_took_a_change(
    desk: Desk, changes: dict[str, Any], options: dict[str, Any]
) -> None:
    found = desk.plan(desk.found(observable=False, **changes), **options)
    assert found.reasons == ["reload_not_observable"]
    assert found.contents is not None
    assert found.changes[0] == "certificate: reload_not_observable"


@pytest.mark.parametrize("changes", [{}, {"served": "another"}, {"hba": ""}])
def test_without_a_log_nothing_else_needs_a_new_certificate(desk: Desk, changes: dict[str, Any]) -> None:
    assert desk.plan(desk.found(observable=False, **changes)).reasons == []


def test_repairs_make_a_generation_anew(desk: Desk) -> None:
    repair = "server.key: mode 0644, expected 0600"
    there = desk.found(repairs=[repair])
    found = desk.plan(there)
    assert (found.contents, found.changes, found.relies_on_log) == (there.generation, [repair], True)


STRANGER = plan.Management("dba", "postgres")
KEEPS = "local all postgres peer"


def block(lines: str, rest: str = "") -> str:
    """Return a file that begins with the managed block."""
    return configuration.with_block(rest, lines, "pg_hba.conf")


@pytest.mark.parametrize(
    ("options", "there", "after"),
    [
        ({"hba": "host all all ::1/128 trust"}, "", block("host all all ::1/128 trust")),
        ({"hba": "local all all peer"}, "", block(f"{KEEPS}\nlocal all all peer")),
        ({"hba": "hostssl local all all cert"}, "# x\n", block("hostssl local all all cert", "# x\n")),
        ({"hba": "# none yet\n\nlocal all all peer"}, "", block(f"{KEEPS}\n# none yet\n\nlocal all all peer")),
        (
            {"hba_mode": "replace", "hba": "host all all all cert"},
            "# gone\n",
            configuration.whole_file(f"{KEEPS}\nhost all all all cert"),
        ),
        (
            {"hba": "host all all all cert"},
            configuration.whole_file("host a a all cert"),
            block("host all all all cert", f"{KEEPS}\n"),
        ),
        (
            {"hba": "", "upgrade_clientcert": True},
            "hostssl all all all md5 clientcert=1\n",
            "hostssl all all all md5 clientcert=verify-ca\n",
        ),
        ({"hba": ""}, "hostssl all all all md5 clientcert=1\n", "hostssl all all all md5 clientcert=1\n"),
    ],
)
def test_the_rules_that_are_declared_come_before_those_that_stay(
    desk: Desk, options: dict[str, Any], there: str, after: str
) -> None:
    texts = {one.name: one.after for one in desk.plan(desk.found(hba=there), **options).rules}
    assert texts.get("pg_hba.conf", there) == after


@pytest.mark.parametrize("options", [{"hba_mode": "replace"}, {"hba": "local all all peer"}])
def test_the_rule_of_the_management_connection_needs_a_role_of_the_same_name(
    desk: Desk, options: dict[str, Any]
) -> None:
    with pytest.raises(TlsError, match="login_user is 'dba', but the server runs as OS user 'postgres'"):
        plan.make(desk.target(**options), desk.found(), STRANGER, NOW)
    assert plan.make(desk.target(), desk.found(), STRANGER, NOW).is_empty


def test_a_file_without_any_rule_is_refused(desk: Desk) -> None:
    with pytest.raises(TlsError, match="no rule would be left"):
        desk.plan(desk.found(hba="# nothing\n"), hba="")


@pytest.mark.parametrize(
    ("generation", "options", "words"),
    [
        ({CONF: b"ssl = 'on'\na = '1'\n"}, {"ssl_conf": "ssl = 'on'\na = '2'\n"}, "ssl.conf: a '1' -> '2'"),
        ({CONF: b"ssl = 'on'\na = '1'\n"}, {}, "ssl.conf: a '1' -> 'unset'"),
        ({}, {"ssl_conf": "ssl = 'on'\na = '2'\n"}, "ssl.conf: a 'unset' -> '2'"),
        ({CONF: b"# a note\nssl = 'on'\n"}, {}, "ssl.conf: changed"),
        ({CONF: b"ssl"}, {}, "ssl.conf: damaged, rewritten"),
        ({CONF: None}, {}, "ssl.conf: new"),
        ({TRUSTED: None}, {}, "trusted-clients.crt: new"),
        ({TRUSTED: b"others"}, {}, "trusted-clients.crt: changed"),
        ({LISTS: b"a list"}, {}, "crl.pem: removed, nothing is revoked"),
        ({}, {"crls": "a list"}, "crl.pem: new"),
        ({LISTS: b"another list"}, {"crls": "a list"}, "crl.pem: changed"),
    ],
)
def test_each_difference_has_its_words(
    desk: Desk, generation: dict[str, bytes | None], options: dict[str, Any], words: str
) -> None:
    there = desk.found()
    changed = {name: content for name, content in {**there.generation, **generation}.items() if content is not None}
    found = desk.plan(there._replace(generation=changed), **options)
    assert found.changes == [words]
    assert (LISTS in (found.contents or {})) == bool(options.get("crls"))


@pytest.mark.parametrize(("certificate", "key"), [(None, None), ("new chain", b"new key"), ("new chain", None)])
def test_what_is_staged_is_what_was_planned_with_the_new_certificate_and_its_key(
    desk: Desk, certificate: str | None, key: bytes | None
) -> None:
    there = desk.found().generation
    files = files_to_stage(there, desk.target(ssl_conf="ssl = 'on'\n"), "0002", certificate, key)
    is_new = certificate is not None and key is not None
    assert files[CERTIFICATE].content == (b"new chain" if is_new else there[CERTIFICATE])
    assert files[KEY] == File(b"new key" if is_new else there[KEY], 0o600)
    assert set(files) == {CERTIFICATE, KEY, TRUSTED, CONF}
    assert set(files_to_stage({}, desk.target(), "0002", None, None)) == {CONF}


def test_rules_alone_need_no_generation(desk: Desk) -> None:
    found = desk.plan(desk.found(), hba="hostssl all other all cert", ident="people alice app\n")
    assert [one.name for one in found.rules] == ["pg_ident.conf", "pg_hba.conf"]
    assert (found.contents, found.changes) == (None, ["pg_ident.conf: changed", "pg_hba.conf: changed"])
    assert not found.relies_on_log


def test_the_leaf_of_a_chain_is_its_first_certificate(desk: Desk) -> None:
    chain = desk.chain()
    assert leaf_of(chain.encode()) == certificate.read_pem(chain, "chain")[0]
    assert [leaf_of(damaged) for damaged in (None, b"", b"garbage")] == [None, None, None]


def headers(found: list[dict[str, str]]) -> list[str]:
    return [one["before_header"] for one in found]


def test_the_difference_has_an_entry_for_each_thing_that_changes(desk: Desk) -> None:
    there = desk.found()
    leaf, conf = leaf_of(there.generation.get(CERTIFICATE)), "ssl = 'on'\n"
    nothing = desk.plan(there)
    assert difference.of_plan(nothing, desk.target(), leaf, conf) == []
    other_conf = difference.of_plan(nothing, desk.target(), leaf, "ssl = 'off'\n")
    assert [(one["before_header"], one["before"], one["after"]) for one in other_conf] == [
        ("ssl.conf", "ssl = 'off'\n", conf)
    ]
    everything = desk.plan(there._replace(config="", hba=""), renew=True)
    found = difference.of_plan(everything, desk.target(renew=True), leaf, conf)
    assert headers(found) == ["server.crt", "postgresql.conf", "pg_hba.conf"]
    assert "names: db1.example" in found[0]["before"]
    assert "to be issued, because: forced" in found[0]["after"]


def test_the_difference_shows_a_certificate_that_was_received_and_none_as_nothing(desk: Desk) -> None:
    chain = desk.chain()
    wanted = desk.target(renew=True, certificate=chain)
    (entry, *_rest) = difference.of_plan(desk.plan(desk.found(), renew=True), wanted, None, "")
    assert entry["before"] == ""
    assert entry["after"] == difference.described(certificate.read_pem(chain, "chain")[0])


def test_the_difference_of_a_roll_back_shows_the_certificate_if_it_is_another_one(desk: Desk) -> None:
    chain = desk.chain()
    leaf = certificate.read_pem(chain, "chain")[0]
    back = desk.plan(desk.found())._replace(left="0007")
    target_of = desk.target(certificate=chain)
    assert headers(difference.of_plan(back, target_of, leaf, target_of.ssl_conf)) == []
    other = certificate.read_pem(desk.chain(), "chain")[0]
    assert headers(difference.of_plan(back, target_of, other, target_of.ssl_conf)) == ["server.crt"]


# Client authorities from before


def moving(desk: Desk, **options: Any) -> target.Target:
    """Return the target of a server whose clients move from ``other`` to ``client``."""
    former = {"name": "other", "trusted_clients": desk.other.root.pem, "crls": "list of other\n"}
    return desk.target(former_authorities=[former], **options)


def test_a_former_authority_stays_trusted_where_the_server_trusts_it(desk: Desk) -> None:
    deployed = (desk.client.root.pem + desk.other.root.pem).encode()
    found = moving(desk).with_former(deployed)
    assert found.still_trusted == ("other",)
    assert found.trusted_clients == desk.client.root.pem + desk.other.root.pem
    assert found.crls == "", "as long as no lists are in use"
    lists = moving(desk, crls="own list\n").with_former(deployed)
    assert lists.crls == "own list\nlist of other\n"


@pytest.mark.parametrize("deployed", [None, b"", b"damaged", "the new one alone"])
def test_one_that_the_server_does_not_trust_is_never_added(desk: Desk, deployed: Any) -> None:
    content = desk.client.root.pem.encode() if isinstance(deployed, str) else deployed
    found = moving(desk).with_former(content)
    assert found.still_trusted == ()
    assert found.trusted_clients == desk.client.root.pem


def test_one_that_is_trusted_by_declaration_is_no_former_one(desk: Desk) -> None:
    extra = moving(desk, extra_trusted_clients=desk.other.root.pem)
    found = extra.with_former(extra.trusted_clients.encode())
    assert found.still_trusted == ()
    assert found.trusted_clients == desk.client.root.pem + desk.other.root.pem


def test_what_only_has_to_be_renewed_stays_until_its_certificate_comes_and_all_else_converges(desk: Desk) -> None:
    due_now = desk.found(desk.chain(age=80 * DAY))
    assert desk.plan(due_now).reasons == ["expires_in_10d"]
    assert desk.plan(due_now, certificate="").is_empty
    assert desk.plan(due_now, certificate="", renew=True).is_empty
    changed = desk.plan(due_now, certificate="", hba="hostssl all app all cert\nhostssl all report all cert")
    assert (changed.reasons, [one.name for one in changed.rules]) == ([], ["pg_hba.conf"])


@pytest.mark.parametrize(
    ("age", "more", "reasons"),
    [
        (91 * DAY, {}, ["expired_1d_ago"]),
        (DAY, {"names": ["db1.example", "db1"]}, ["san_missing: db1"]),
        (DAY, {"key_type": "P-384"}, ["key_type: P-256 instead of P-384"]),
    ],
)
def test_what_cannot_be_used_waits_for_its_certificate(
    desk: Desk, age: int, more: dict[str, Any], reasons: list[str]
) -> None:
    assert desk.plan(desk.found(desk.chain(age=age)), certificate="", **more).reasons == reasons
