# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What module connection_info says of a server does not depend on the language that the server speaks."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.tests.checkers import Checker
from ansible_collections.pgops.tls.tests.system.conftest import run_as

REFUSALS = ("plaintext", "no_certificate", "foreign_certificate", "wrong_name", "foreign_root")
LANGUAGES = ("de", "fr", "zh_CN")
LATEST = (2, 36)  # version of the C library whose C.UTF-8 speaks a language; later ones speak English


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    """Return a language, of which this machine has the texts of its PostgreSQL."""
    name: str = request.param
    if tuple(map(int, platform.libc_ver()[1].split("."))) > LATEST:
        pytest.skip("C.UTF-8 speaks English here, and there is no other locale")
    texts = Path("/usr/share/locale") / name / "LC_MESSAGES" / f"postgres-{os.environ['EXPECTED_POSTGRESQL']}.mo"
    if not texts.exists():
        pytest.skip(f"{texts} is not installed")
    return name


@pytest.fixture
def speaking(client: Any, language: str) -> Iterator[Callable[..., Checker]]:
    """Return what gives the client of a server that speaks the language and has these rules."""

    def with_rules(*rules: str) -> Checker:
        client.cluster.hba(*rules)
        _start_anew(client.cluster, "C.UTF-8", language)
        return Checker(client)

    yield with_rules
    _start_anew(client.cluster, "C", "")


def _start_anew(cluster: Any, locale: str, language: str) -> None:
    """Start the server anew. C.UTF-8 has the language of LANGUAGE, whichever locales this machine has."""
    cluster.append("postgresql.conf", f"lc_messages = '{locale}'\n")
    cluster.stop("fast")
    options = f"-p {cluster.port} -k {cluster.socket_directory}"
    start = [cluster.programs / "pg_ctl", "-D", cluster.data, "-l", cluster.log_path, "-o", options, "-w", "start"]
    run_as(cluster.account, "env", f"LANGUAGE={language}", *start)


def test_every_refusal_is_recognised(speaking: Callable[..., Checker]) -> None:
    client = speaking("hostssl all app,other all cert")
    other = client.refuse("another_role", role="other", certificate_role="app")
    found = client.verify(client.expect(), *(client.refuse(kind) for kind in REFUSALS), other)
    assert [one["reason"] for one in found if one["status"] != "ok"] == []
    plaintext = found[1]
    assert "pg_hba.conf" in plaintext["message"]
    assert "no pg_hba.conf entry" not in plaintext["message"], "it would be English"
    assert "28000" not in plaintext["message"]


def test_a_certificate_that_is_not_demanded_is_told(speaking: Callable[..., Checker]) -> None:
    client = speaking("hostssl all app all trust", "host all all all trust")
    kinds = ("plaintext", "no_certificate")
    found = client.verify(client.expect(), *(client.refuse(kind) for kind in kinds))
    assert [one["status"] for one in found[1:]] == ["deviation"] * 2


def test_a_database_that_is_not_there_proves_nothing(speaking: Callable[..., Checker]) -> None:
    client = speaking("host all all all trust")
    found = client.verify(client.expect(), client.refuse("plaintext", database="nowhere"))
    assert found[1]["status"] == "deviation"
