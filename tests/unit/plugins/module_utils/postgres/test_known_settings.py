# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ssl settings of each version, and what can be said of a value without a server."""

from __future__ import annotations

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.postgres import known_settings


@pytest.mark.parametrize("major", range(12, 20))
def test_a_version_has_each_name_once(major: int) -> None:
    names = [one.name for one in known_settings.TABLE if one.since <= major <= one.until]
    assert len(names) == len(set(names)) == len(known_settings.of_version(major))


def test_groups_have_another_name_from_18_on() -> None:
    for major, name, other in ((17, "ssl_ecdh_curve", "ssl_groups"), (18, "ssl_groups", "ssl_ecdh_curve")):
        assert name in known_settings.of_version(major)
        assert other not in known_settings.of_version(major)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ssl_min_protocol_version", "TLSv9", "expected one of 'TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'"),
        ("ssl_min_protocol_version", "", "expected one of"),
        ("ssl_prefer_server_ciphers", "maybe", "expected on or off"),
        ("ssl_min_protocoll_version", "TLSv1.3", "Write ssl_min_protocol_version"),
        ("ssl_library", "GnuTLS", "leave it out"),
    ],
)
def test_what_no_server_takes_is_told(name: str, value: str, message: str) -> None:
    assert message in known_settings.problem(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ssl_max_protocol_version", ""),
        ("ssl_min_protocol_version", "tlsv1.3"),
        ("ssl_prefer_server_ciphers", "on"),
        ("ssl_ciphers", "whatever OpenSSL is going to say"),
        ("ssl_of_version_25", "x"),
    ],
)
def test_what_a_server_may_take_is_left_to_it(name: str, value: str) -> None:
    assert known_settings.problem(name, value) == ""
