# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every PostgreSQL version as a server of every version's client library, set up by the whole job."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

VERSIONS = (13, 14, 15, 16, 17, 18, 19)
ADDRESSES_SINCE = 15  # the first libpq that verifies them
TELLS_SINCE, HYBRID_SINCE = 0x30000000, 0x30500000  # OpenSSL that tells of the group, and that has a post-quantum one
REFUSED_KINDS = {
    "plaintext",
    "no client certificate",
    "certificate of a foreign CA",
    "another role's certificate (app)",
    "another role's certificate (report)",
    "wrong host name",
    "foreign root at the client",
}


@pytest.fixture(scope="module")
def first_run(fleet: Any) -> Any:
    return fleet.site()


@pytest.fixture(scope="module")
def second_run(fleet: Any, first_run: Any) -> Any:
    assert first_run.status == 0
    return fleet.site()


@pytest.fixture(scope="module")
def renewal(fleet: Any, second_run: Any) -> Any:
    assert second_run.status == 0
    return fleet.site(postgres_server_renew=True, postgres_client_renew=True)


@pytest.fixture(scope="module")
def pairs(fleet: Any, renewal: Any) -> dict[str, list[dict[str, Any]]]:
    assert renewal.status == 0
    found: dict[str, list[dict[str, Any]]] = fleet.pairs()
    return found


@pytest.fixture(scope="module")
def openssl(fleet: Any) -> dict[int, int]:
    """Return the version of the OpenSSL that libpq of each host uses."""
    ask = "import ctypes; print(ctypes.CDLL('libpq.so.5').OpenSSL_version_num())"
    return {version: int(fleet.inside(f"pg{version}", "python3", "-c", ask)) for version in VERSIONS}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_versions_are_those_that_the_table_names(fleet: Any, version: int) -> None:
    host = f"pg{version}"
    shown = fleet.psql(host, "SHOW server_version_num")
    library = "import ctypes; print(ctypes.CDLL('libpq.so.5').PQlibVersion())"
    numbers = {int(shown) // 10000, int(fleet.inside(host, "python3", "-c", library)) // 10000}
    assert numbers == {version}


def test_the_whole_job_succeeds(first_run: Any) -> None:
    assert first_run.status == 0, first_run.output[-5000:]
    assert all(first_run.changed[f"pg{version}"] for version in VERSIONS), first_run.changed


def test_a_second_run_changes_nothing(second_run: Any) -> None:
    assert second_run.status == 0, second_run.output[-5000:]
    assert second_run.changed == {f"pg{version}": 0 for version in VERSIONS}


def test_a_renewal_succeeds(renewal: Any) -> None:
    assert renewal.status == 0, renewal.output[-5000:]
    assert all(renewal.changed[f"pg{version}"] for version in VERSIONS), renewal.changed


@pytest.mark.parametrize(("server", "client"), list(itertools.product(VERSIONS, VERSIONS)))
def test_what_has_to_work_works_and_nothing_else(
    pairs: Any, openssl: dict[int, int], cells: dict[tuple[str, str], str], server: int, client: int
) -> None:
    checks = [one for one in pairs[f"pg{client}"] if one["server"] == f"pg{server}"]
    wrong = [one for one in checks if one["status"] not in ("ok", "skipped")]
    right = [one for one in checks if one["status"] == "ok"]
    refused = [one for one in right if one["wanted"].startswith("refused: ")]
    skipped = [one for one in checks if one["status"] == "skipped"]
    cell = f"{len(right) - len(refused)}+{len(refused)}" + (f" ({len(skipped)})" if skipped else "")
    cells[f"pg{server}", f"pg{client}"] = f"{cell} {len(wrong)} WRONG" if wrong else cell
    assert wrong == []
    assert {one["wanted"].partition("refused: ")[2] for one in refused} == REFUSED_KINDS
    _assert_names(checks, server, client, openssl[client])


def _assert_names(checks: list[dict[str, Any]], server: int, client: int, openssl: int) -> None:
    """Look whether both roles were let in by both names, and by the address where libpq can verify one."""
    accepted = {(one["role"], one["host"]): one for one in checks if one["wanted"] == "accepted"}
    names = {f"pg{server}", f"pg{server}.example.test"}
    addresses = {host for _role, host in accepted} - names
    assert len(addresses) == 1
    assert set(accepted) == set(itertools.product(("app", "report"), names | addresses))
    for (_role, host), one in accepted.items():
        can_verify = host in names or client >= ADDRESSES_SINCE
        assert one["status"] == ("ok" if can_verify else "skipped"), one
        assert one["protocol"] == ("TLSv1.3" if can_verify else "")
        assert one["group"] == (_group(server, openssl) if can_verify else "")


def _group(server: int, openssl: int) -> str:
    """Return the group of the key exchange: a server before 18 has one curve, and only some clients know more."""
    if openssl < TELLS_SINCE:
        return ""
    if server < 18:
        return "prime256v1"
    return "X25519MLKEM768" if openssl >= HYBRID_SINCE else "X25519"
