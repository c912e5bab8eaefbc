# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.postgres import databases


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ([], []),
        (["shop", "stats", "shop"], ["shop", "stats"]),
        (["all"], []),
        (["sameuser", "shop"], ["app", "shop"]),
        (["app", "sameuser"], ["app"]),
        (["replication", "samerole", "samegroup", "+staff", "@file", "/^s"], []),
    ],
)
def test_words_of_rules_name_no_database(declared: list[str], expected: list[str]) -> None:
    assert databases.named(declared, "app") == expected


def test_the_databases_of_several_identities_are_listed_once() -> None:
    identities = [{"role": "app", "databases": ["shop", "stats"]}, {"role": "clerk"}, {"role": "b", "databases": ["x"]}]
    assert databases.of([*identities, *identities]) == ["shop", "stats", "x"]
