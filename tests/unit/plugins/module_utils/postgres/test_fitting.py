# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of ssl.conf as a server can take it."""

from __future__ import annotations

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.postgres import fitting, settings


@pytest.mark.parametrize(
    ("text", "major", "fitted"),
    [
        ("ssl = on\nssl_groups = 'X25519:prime256v1'\nssl_ciphers = 'a'", 17, "ssl_ecdh_curve = 'prime256v1'"),
        ("ssl = on\nssl_groups = 'X25519:prime256v1'\nssl_ciphers = 'a'", 18, "ssl_groups = 'X25519:prime256v1'"),
        ("ssl = on\nssl_ecdh_curve = 'secp384r1'\nssl_ciphers = 'a'", 15, "ssl_ecdh_curve = 'secp384r1'"),
        ("ssl = on\nssl_ecdh_curve = 'misspelt'\nssl_ciphers = 'a'", 17, "ssl_ecdh_curve = 'misspelt'"),
        ("ssl = on\nssl_ecdh_curve = 'secp384r1'\nssl_ciphers = 'a'", 18, "ssl_groups = 'secp384r1'"),
    ],
)
def test_groups_get_the_name_that_the_version_has_for_them(text: str, major: int, fitted: str) -> None:
    assert fitting.fitted(text, major) == f"ssl = on\n{fitted}\nssl_ciphers = 'a'"


@pytest.mark.parametrize(("major", "name"), [(17, "ssl_ecdh_curve"), (18, "ssl_groups")])
def test_a_curve_counts_more_than_the_groups_of_a_preset(major: int, name: str) -> None:
    given = "ssl_groups = 'X25519:prime256v1'\nssl = on\nssl_ecdh_curve = 'secp384r1'"
    assert settings.parse(fitting.fitted(given, major)) == {"ssl": "on", name: "secp384r1"}


def test_groups_without_a_curve_are_refused_before_18() -> None:
    with pytest.raises(TlsError, match=r"PostgreSQL 17 can use none.*Add prime256v1"):
        fitting.fitted("ssl_groups = 'X25519'", 17)
    assert fitting.fitted("ssl = on\n", 17) == "ssl = on\n"


HYBRID = "ssl = on\nssl_groups = '?X25519MLKEM768:X25519:prime256v1'"


@pytest.mark.parametrize(
    ("major", "objection", "groups"),
    [
        (18, "", "ssl_groups = '?X25519MLKEM768:X25519:prime256v1'"),
        (18, "too old", "ssl_groups = 'X25519:prime256v1'"),
        (17, "", "ssl_ecdh_curve = 'prime256v1'"),
    ],
)
def test_groups_with_a_question_mark_are_for_servers_that_may_know_them(
    major: int, objection: str, groups: str
) -> None:
    assert fitting.fitted(HYBRID, major, objection) == f"ssl = on\n{groups}"


def test_a_list_with_nothing_that_the_server_can_use_is_refused() -> None:
    with pytest.raises(TlsError, match=r"can use none of them: too old\..*Add prime256v1") as error:
        fitting.fitted("ssl_groups = '?X25519MLKEM768'", 18, "too old")
    assert error.value.code == "groups_unusable"


def test_a_server_is_asked_only_where_a_group_needs_not_be_known() -> None:
    given = settings.parse(HYBRID)
    assert fitting.optional_groups(given, 18) == ["X25519MLKEM768"]
    assert fitting.optional_groups(given, 17) == []
    assert fitting.optional_groups({**given, "ssl_ecdh_curve": "secp384r1"}, 18) == []
    assert fitting.optional_groups({"ssl_groups": "X25519"}, 18) == []


def test_a_line_for_later_versions_is_left_out_before() -> None:
    text = "ssl = on\nssl_tls13_ciphers = 'TLS_X' # from PostgreSQL 18 on\nssl_ciphers = 'x # from PostgreSQL 18 on'\n"
    assert fitting.fitted(text, 18) == text
    assert fitting.fitted(text, 17) == "ssl = on\nssl_ciphers = 'x # from PostgreSQL 18 on'\n"
    assert settings.parse(text)["ssl_tls13_ciphers"] == "TLS_X"


def test_before_18_a_curve_is_one_with_a_question_mark_too() -> None:
    assert fitting.fitted("ssl_groups = 'X25519:?secp384r1:?prime256v1'", 17) == "ssl_ecdh_curve = 'secp384r1'"
