# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.client import identities
from ansible_collections.pgops.tls.plugins.module_utils.client.identities import Identity
from ansible_collections.pgops.tls.plugins.module_utils.core import processes
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError


def declared(role: Any = "app", os_user: Any = "alice", **rest: Any) -> dict[str, Any]:
    return {"role": role, "os_user": os_user, **rest}


def test_identities_keep_their_order_and_have_ids() -> None:
    found = identities.parse([declared("b", databases=["shop", "x"]), declared("a"), declared("b", "bob")])
    assert found == [Identity("b", "alice", ("shop", "x")), Identity("a", "alice"), Identity("b", "bob")]
    assert [one.id for one in found] == ["alice/b", "alice/a", "bob/b"]


def test_a_second_identity_of_a_role_has_a_name_of_its_own() -> None:
    both = [declared(servers=["shop"]), declared(name="app_billing", servers=["billing"]), declared(os_user="bob")]
    found = identities.parse(both)
    assert [one.name for one in found] == ["app", "app_billing", "app"]
    assert [one.id for one in found] == identities.ids(both) == ["alice/app", "alice/app_billing", "bob/app"]
    for twice in ([*both, declared("app_billing")], [declared(name=""), declared()]):
        with pytest.raises(TlsError, match=r"is listed twice; .* give the second one a name of its own"):
            identities.parse(twice)
    with pytest.raises(TlsError, match=r"identities\[0\]\.name: 'a/b' also becomes the name of a directory"):
        identities.parse([declared(name="a/b")])


@pytest.mark.parametrize(
    "role",
    [
        "app",
        "App User",
        "app.v2",
        "app-1",
        "_app",
        "a=b",
        "#app",
        "-app",
        "[app",
        "ü",
        "役割",
        "a" * 63,
        "ü" * 31,
        "a:b",
        "a,b",
    ],
)
def test_roles_that_postgresql_knows_are_taken(role: str) -> None:
    assert identities.parse([declared(role)])[0].role == role


@pytest.mark.parametrize(
    ("role", "told"),
    [
        ("", "not empty"),
        (None, "not empty"),
        (7, "not empty"),
        ("a" * 64, "64 bytes, expected at most 63"),
        ("ü" * 32, "64 bytes, expected at most 63"),
        ("a/b", "cannot start with a dot, contain a slash"),
        ("/", "cannot start with a dot, contain a slash"),
        (".", "cannot start with a dot"),
        ("..", "cannot start with a dot"),
        (".app", "cannot start with a dot"),
        ("root.crt", "or be one of root.crt, root.crl, truststore.p12, manifest.json"),
        ("root.crl", "or be one of root.crt, root.crl, truststore.p12, manifest.json"),
        ("manifest.json", "or be one of root.crt, root.crl, truststore.p12, manifest.json"),
        ("app]", "closing bracket"),
        ("a\0b", "control characters"),
        ("a\nb", "control characters"),
        ("app\r", "control characters"),
        ("a\tb", "control characters"),
        ("a\x7fb", "control characters"),
        ("a\x85b", "control characters"),
        ("a\u202eb", "invisible"),
        ("a\u200bb", "invisible"),
        ("a\u2028b", "invisible"),
        ("a\u00a0b", "invisible"),
        ("a\ud800", "invisible"),
        (" app", "white space"),
        ("app ", "white space"),
    ],
)
def test_roles_that_cannot_be_a_file_a_common_name_and_a_service_are_refused(role: Any, told: str) -> None:
    with pytest.raises(TlsError, match=rf"identities\[1\]\.role: .*{told}"):
        identities.parse([declared("first"), declared(role)])


@pytest.mark.parametrize("value", ["", "a\0b", "a\nb", "x" * 64, None])
def test_os_users_and_databases_are_checked_too(value: Any) -> None:
    with pytest.raises(TlsError, match=r"identities\[0\]\.os_user: "):
        identities.parse([declared(os_user=value)])
    with pytest.raises(TlsError, match=r"identities\[0\]\.databases: "):
        identities.parse([declared(databases=["shop", value])])


def test_two_identities_with_the_same_files_are_refused() -> None:
    with pytest.raises(TlsError, match=r"identities\[2\]: 'app' of OS user 'alice' is listed twice"):
        identities.parse([declared(), declared("other"), declared(databases=["shop"])])


def test_an_os_user_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TlsError, match="identities: os_user: there is no OS user 'no-such-user'"):
        identities.accounts([Identity("app", "no-such-user")])


def test_each_os_user_comes_once() -> None:
    found = identities.accounts([Identity("a", "root"), Identity("b", "daemon"), Identity("c", "root")])
    assert [(name, user.uid) for name, user in found.items()] == [("root", 0), ("daemon", 1)]


def test_two_os_users_with_one_home_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    homes = {"alice": str(tmp_path), "bob": str(tmp_path / "link")}
    monkeypatch.setattr(
        processes, "account", lambda name, _option: processes.Account(name, os.geteuid(), os.getegid(), homes[name])
    )
    with pytest.raises(TlsError, match="'alice' and 'bob' have the same home directory"):
        identities.accounts([Identity("a", "alice"), Identity("b", "bob")])


def test_another_home_is_taken_as_it_is_and_has_to_be_the_same_for_all_identities_of_an_os_user() -> None:
    items = [{"role": role, "os_user": "root", "home": "/srv/keys/"} for role in ("app", "report")]
    assert identities.accounts(identities.parse(items))["root"].home == "/srv/keys"
    items[1]["home"] = "/srv/others"
    with pytest.raises(TlsError, match="has the home /srv/others in one identity and /srv/keys in another"):
        identities.accounts(identities.parse(items))
    with pytest.raises(TlsError, match=r"identities\[0\]\.home: found 'keys', expected the absolute path"):
        identities.parse([{"role": "app", "os_user": "root", "home": "keys"}])


@pytest.mark.parametrize("value", ["yes", "", 1, []])
def test_default_files_are_said_by_true_or_false(value: Any) -> None:
    with pytest.raises(TlsError, match=r"identities\[0\]\.default_files: found .*, expected true or false"):
        identities.parse([declared(default_files=value)])


def test_default_files_of_two_identities_are_refused() -> None:
    own = [declared(role, default_files=True) for role in ("app", "other")]
    message = r"identities\[1\]\.default_files: true for the roles 'app' and 'other' of OS user 'alice'"
    with pytest.raises(TlsError, match=message):
        identities.parse(own)
    assert len(identities.parse([own[0], {**own[1], "os_user": "bob"}])) == 2


HOLDERS = {
    (None,): 0,
    (None, None): 0,
    (True, None): 0,
    (None, True): 1,
    (False, True): 1,
    (True, False): 0,
    (False,): None,
    (False, None): None,
    (None, False): None,
    (False, False): None,
}


@pytest.mark.parametrize("said", HOLDERS)
def test_who_has_the_default_files(said: tuple[bool | None, ...]) -> None:
    other = identities.Identity("other", "bob")
    own = [identities.Identity(f"role{number}", "alice", default_files=one) for number, one in enumerate(said)]
    place = HOLDERS[said]
    expected = None if place is None else own[place]
    assert identities.default_holders([*own, other]) == {"alice": expected, "bob": other}
