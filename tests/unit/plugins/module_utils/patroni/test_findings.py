# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a Patroni's REST API, its clients and its logins."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.patroni import addresses, api, findings, settings
from ansible_collections.pgops.tls.plugins.module_utils.patroni.api import Answer
from ansible_collections.pgops.tls.plugins.module_utils.patroni.settings import Settings
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import read_pem
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import Name, parse_all
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY
from ansible_collections.pgops.tls.tests.shared import DAY

# Any certificate will do
LEAF = read_pem(AUTHORITIES["server"].issuing.pem, "leaf")[0]._replace(names=(Name("ip", "127.0.0.1"),))
OTHER = read_pem(AUTHORITIES["client"].issuing.pem, "leaf")[0]._replace(names=LEAF.names)
NAMES = parse_all(["pg1.example.com", "10.0.0.1"], "names")
VERIFIED = {"username": "replicator", "sslmode": "verify-full"}


def seen(restapi: dict[str, str] | None = None, ctl: dict[str, str] | None = None, **changes: Any) -> findings.Seen:
    """Return a member of which nothing is wrong."""
    sections = {
        "restapi": {"listen": "127.0.0.1:8008", "certfile": "/etc/api.crt", **(restapi or {})},
        "ctl": {"certfile": "/etc/ctl.crt", **(ctl or {})},
        "postgresql": {"connect_address": "10.0.0.1:5432"},
    }
    said = Settings("shop", "a", sections, {"restapi": "", "ctl": ""}, {"replication": VERIFIED}, uses_socket=True)
    usual: dict[str, Any] = {"answer": Answer(LEAF, 200), "leaves": {"restapi": LEAF, "ctl": OTHER}}
    given = {"settings": said, **usual, "directory": "/t/patroni", "is_managed": False, "names": NAMES, **changes}
    return findings.Seen("/etc/patroni.yml", **given)


def codes(one: findings.Seen, now: int = TODAY) -> list[str]:
    return [finding.code for finding in findings.of(one, now)]


def test_nothing_is_said_where_nothing_is_wrong() -> None:
    assert codes(seen()) == []
    facts = findings.result(seen(), TODAY)
    assert facts["api"]["tls"] is True
    assert facts["ctl"]["serial"] == f"{OTHER.serial:x}"
    assert facts["findings"] == []
    json.dumps(facts)


@pytest.mark.parametrize(
    ("one", "code"),
    [
        (seen(answer=None), "api_silent"),
        (seen(answer=Answer(None, 200)), "api_plaintext"),
        (seen(answer=Answer(OTHER, 200)), "api_old_certificate"),
        (seen({"certfile": "/t/patroni/current/api.crt"}), "not_renewed"),
        (seen(ctl={"insecure": "True"}), "ctl_not_verified"),
    ],
)
def test_what_is_wrong_has_a_code(one: findings.Seen, code: str) -> None:
    assert codes(one) == [code]


def test_what_is_managed_needs_no_advice_to_manage_it() -> None:
    ours = {"certfile": "/t/patroni/current/api.crt"}
    assert codes(seen(ours, is_managed=True)) == []
    [told] = findings.of(seen(answer=Answer(None, 200), is_managed=True), TODAY)
    assert "patroni_api" not in told.words


def test_files_that_patroni_cannot_load_are_named_with_the_reason() -> None:
    said = seen().settings._replace(faults={"restapi": "KEY_VALUES_MISMATCH", "ctl": "no such file"})
    assert codes(seen(settings=said)) == ["api_unfit", "ctl_unfit"]
    assert "KEY_VALUES_MISMATCH" in findings.of(seen(settings=said), TODAY)[0].words


def test_the_end_of_each_certificate_is_told() -> None:
    leaves = {"restapi": LEAF, "ctl": LEAF, "replication": LEAF}
    near, past = LEAF.not_after - 7 * DAY, LEAF.not_after
    assert codes(seen(leaves=leaves), near) == ["api_expires_soon", "ctl_expires_soon", "login_expires_soon"]
    assert codes(seen(leaves=leaves), past) == ["api_expired", "ctl_expired", "login_expired"]
    assert codes(seen(leaves=leaves), LEAF.not_after - 30 * DAY) == []


@pytest.mark.parametrize(
    ("logins", "uses_socket", "named"),
    [
        ({"superuser": {}, "replication": VERIFIED}, True, ""),
        ({"superuser": {}, "replication": VERIFIED}, False, "superuser: sslmode=prefer"),
        (
            {"replication": {"sslmode": "require"}, "rewind": {}},
            True,
            "replication: sslmode=require, rewind: sslmode=prefer",
        ),
    ],
)
def test_logins_over_the_network_have_to_verify_the_server(
    logins: dict[str, dict[str, str]], uses_socket: bool, named: str
) -> None:
    told = findings.of(seen(settings=seen().settings._replace(logins=logins, uses_socket=uses_socket)), TODAY)
    assert [one.code for one in told] == (["login_not_verified"] if named else [])
    assert not named or f"({named})" in told[0].words


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("127.0.0.1:8009", "127.0.0.1", 8009),
        ("0.0.0.0:8008", "127.0.0.1", 8008),
        ("*:8008", "127.0.0.1", 8008),
        ("[::]:8008", "::1", 8008),
        ("[2001:db8::1]:8008", "2001:db8::1", 8008),
        ("pg1.example.com:x", "pg1.example.com", 8008),
    ],
)
def test_where_a_rest_api_is_asked(address: str, host: str, port: int) -> None:
    assert api.endpoint(address)[:2] == (host, port)


def test_the_host_of_an_address_has_no_brackets() -> None:
    assert settings.host_of("[2001:db8::1]:8008") == "2001:db8::1"
    assert settings.host_of("pg1.example.com:8008") == "pg1.example.com"
    assert settings.host_of("pg1.example.com") == "pg1.example.com"


def test_an_address_that_is_no_name_of_the_certificate_is_told() -> None:
    """Whether members verify already decides what it means today, never whether it is said."""
    other = parse_all(["pg1.example.com"], "names")
    [told] = findings.of(seen(names=other), TODAY)
    assert told.code == "server_name_missing"
    assert "'10.0.0.1' is none of the names" in told.words
    assert "Members refuse it now (replication)." in told.words
    assert told.words.endswith("Add it to names, as {name: 10.0.0.1, from: []} if no client uses it.")
    open_ = seen().settings._replace(logins={})
    [told] = findings.of(seen(names=other, settings=open_), TODAY)
    assert "sslmode: verify-full would refuse it." in told.words
    assert codes(seen(names=None)) == [], "a removal gives it no certificate"


@pytest.mark.parametrize("is_managed", [True, False])
def test_an_address_of_the_rest_api_that_its_certificate_lacks_is_told(is_managed: bool) -> None:
    [told] = findings.of(seen({"connect_address": "pg9.example.com:8008"}, is_managed=is_managed), TODAY)
    assert told.code == "api_name_missing"
    assert ("Add it to names" in told.words) is is_managed
    assert codes(seen({"connect_address": "127.0.0.1:8008"})) == []
    plaintext = seen({"connect_address": "pg9.example.com:8008"}, answer=Answer(None, 200))
    assert codes(plaintext) == ["api_plaintext"], "there is no certificate that could have it"


@pytest.mark.parametrize(
    ("logins", "named"),
    [
        ({"replication": VERIFIED, "superuser": VERIFIED}, ["replication", "superuser"]),
        ({"replication": VERIFIED, "superuser": VERIFIED, "rewind": {}}, ["replication"]),
        ({"replication": {"sslmode": "verify-ca"}, "rewind": VERIFIED}, ["rewind"]),
        ({"superuser": {}}, []),
    ],
)
def test_who_verifies_a_member(logins: dict[str, dict[str, str]], named: list[str]) -> None:
    assert seen().settings._replace(logins=logins).verifying == named


@pytest.mark.parametrize(
    ("served", "is_refused"),
    [
        (None, True),  # a first run
        (["pg1.example.com", "10.0.0.1"], True),  # what works now would no longer
        (["pg1.example.com"], False),  # which they refuse already: a renewal makes nothing worse
        ([], False),
    ],
)
def test_a_new_certificate_without_the_name_that_members_verify_is_refused_if_it_makes_things_worse(
    served: list[str] | None, is_refused: bool
) -> None:
    said, coming = seen().settings, parse_all(["pg1.example.com"], "names")
    known = parse_all(served, "names") if served else served
    addresses.refuse_lost("/p.yml", said, NAMES, known)  # type: ignore[arg-type]
    addresses.refuse_lost("/p.yml", said._replace(logins={}), coming, known)  # type: ignore[arg-type]
    nowhere = {**said.sections, "postgresql": {}}
    addresses.refuse_lost("/p.yml", said._replace(sections=nowhere), coming, known)  # type: ignore[arg-type]
    if not is_refused:
        addresses.refuse_lost("/p.yml", said, coming, known)  # type: ignore[arg-type]
        return
    with pytest.raises(TlsError, match=r"10\.0\.0\.1:5432 \(postgresql\.connect_address\).*\(replication\)") as failure:
        addresses.refuse_lost("/p.yml", said, coming, known)  # type: ignore[arg-type]
    assert failure.value.code == "patroni_name_missing"
