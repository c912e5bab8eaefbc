# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users rely on is recorded, and nothing of it goes by accident."""

from __future__ import annotations

import re

from ansible_collections.pgops.tls.plugins.module_utils.client import home
from ansible_collections.pgops.tls.plugins.module_utils.deployment import pairs
from ansible_collections.pgops.tls.plugins.module_utils.pooler import target
from ansible_collections.pgops.tls.plugins.module_utils.server import found
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import CLIENTS, POOLERS, SERVERS
from ansible_collections.pgops.tls.tests import interface

PAGE = (interface.ROOT / "docs" / "docsite" / "rst" / "guide_interface.rst").read_text(encoding="utf-8")
RECORDED = set(interface.RECORD.read_text(encoding="utf-8").splitlines())


def test_nothing_that_was_promised_is_gone() -> None:
    assert RECORDED - interface.lines() == set(), "it needs a major version; or does it have another name now?"


def test_all_that_is_promised_is_recorded() -> None:
    assert interface.lines() - RECORDED == set(), "run python tests/interface.py, and commit what it writes"


def test_each_kind_of_line_is_found() -> None:
    assert {
        "playbook site",
        "role postgres_server",
        "variable of postgres_server postgres_server_hba_mode=replace",
        "variable of postgres_client postgres_client_identities.os_user",
        "module server option ident",
        "module server result certificate.serial",
        "module server option login_user",  # of a fragment
        "error passphrase_missing",
        "reason san_missing",
        "reason expires_in",
        "reason reload_not_observable",
    } - interface.lines() == set()


def test_the_page_names_the_modules_and_filters_that_are_recorded() -> None:
    named = set(re.findall(r"pgops\.tls\.(\w+)``", PAGE)) - {"site"}
    assert sorted(named) == sorted((*interface.MODULES, *interface.FILTERS))


def test_the_page_names_groups_and_files_as_they_are() -> None:
    files = {
        *(found.CERTIFICATE, found.KEY, found.TRUSTED),
        *(home.CERTIFICATE, home.KEY, home.TRUST, home.LISTS, home.BUNDLE, home.PK8),
        *(home.KEYSTORE, home.PASSWORD, home.TRUSTSTORE, home.ENVIRONMENT),
        *(target.FRONT_CERTIFICATE, target.FRONT_KEY, pairs.TRUSTED),
        *(target.BACK_CERTIFICATE, target.BACK_KEY, pairs.ROOTS),
    }
    assert [name for name in sorted(files) if f":file:`{name}`" not in PAGE] == []
    assert [name for name in (SERVERS, CLIENTS, POOLERS) if f"``{name}``" not in PAGE] == []
