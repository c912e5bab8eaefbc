# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is proven of a server, and of connections to it, does not depend on the language that the server speaks."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.server import proof
from ansible_collections.pgops.tls.tests.checkers import Checker
from ansible_collections.pgops.tls.tests.servers import HBA, Server
from ansible_collections.pgops.tls.tests.system.conftest import run_as
from ansible_collections.pgops.tls.tests.system.test_server_log import CONTRADICTION, unrehearsed

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


# The server's own proofs

NEW_RULES = "# another\n" + HBA
WITH_PROCESS = "log_line_prefix = '%m [%p] '\n"  # as packages have it


@pytest.fixture
def local(server: Server, language: str) -> Server:
    """Give a managed server that speaks the language, and whose log says which process wrote a line."""
    server.cluster.append("postgresql.conf", WITH_PROCESS)
    _start_anew(server.cluster, "C.UTF-8", language)
    server.settle()
    assert server.cluster.log().count("SIGHUP") > server.cluster.log().count("received SIGHUP") == 0
    return server


def words_of(server: Server) -> list[str]:
    """Return the last lines of the server's main process."""
    pid = (server.cluster.data / "postmaster.pid").read_text().split("\n", 1)[0]
    return [line for line in server.cluster.log().splitlines() if f"[{pid}]" in line]


def test_what_only_the_log_could_prove_is_proven_by_a_new_certificate(local: Server) -> None:
    local.ssl = {"ssl_min_protocol_version": "TLSv1.3"}
    before = local.served()
    assert local.settle().plan.reasons == ["reload_not_observable"]
    assert local.served() != before
    assert local.converge().changes == []


def test_tls_files_that_are_refused_are_undone_and_the_server_is_quoted(
    local: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "_PATIENCE", 1.0)
    unrehearsed(monkeypatch)
    served, disk = local.served(), local.disk()
    local.ssl = CONTRADICTION
    with pytest.raises(TlsError) as failure:
        local.settle()
    assert failure.value.code == "tls_files_not_taken"
    assert failure.value.details["rolled_back"] is True
    assert (local.served(), local.disk()) == (served, disk)
    quoted = [line for line in failure.value.details["server_log"] if "SSL" in line]
    assert quoted, "what the server said is the only explanation"
    assert set(quoted) <= set(words_of(local))
    assert str(failure.value).count(quoted[0].strip()) == 1


@pytest.mark.parametrize("name", ["pg_hba.conf", "pg_ident.conf"])
def test_rules_and_maps_that_are_refused_at_the_reload_are_undone(
    local: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, reload = local.disk(), proof.Administrator.reload
    before = (local.cluster.data / name).read_bytes()

    def spoiled(administrator: proof.Administrator) -> None:
        """Stand for somebody who breaks the file between the look at it and the reload."""
        path, content = local.cluster.data / name, (local.cluster.data / name).read_bytes()
        local.cluster.write(name, content + b"nonsense\n")
        reload(administrator)
        administrator.query("SELECT to_json(true)")  # a session that begins later: the signal was handled
        local.cluster.write(path.name, content)

    monkeypatch.setattr(proof.Administrator, "reload", spoiled)
    with pytest.raises(TlsError) as failure:
        local.converge(hba=NEW_RULES)
    assert failure.value.code == "rules_not_taken"
    assert name in str(failure.value)
    assert (local.cluster.data / name).read_bytes() == before
    monkeypatch.undo()
    assert {path: one[2] for path, one in local.disk().items()} == {path: one[2] for path, one in disk.items()}
    assert local.converge(hba=NEW_RULES).changes == ["pg_hba.conf: changed"]


def test_a_fault_in_rules_is_told_in_english(local: Server) -> None:
    text = (local.cluster.data / "pg_hba.conf").read_text()
    local.cluster.write("pg_hba.conf", text + "nonsense\n")
    with pytest.raises(TlsError, match='invalid connection type "nonsense"'):
        local.converge(hba=NEW_RULES)


def test_a_role_that_is_no_superuser_is_named_as_such(local: Server) -> None:
    local.cluster.psql("CREATE ROLE limited LOGIN")
    local.role = "limited"
    with pytest.raises(TlsError, match="role 'limited' is no superuser") as failure:
        local.converge()
    assert failure.value.code == "login_user_not_superuser"


def test_a_session_with_a_language_of_its_own_says_nothing_of_the_log(local: Server) -> None:
    local.cluster.psql("ALTER ROLE postgres SET lc_messages = 'C'")
    local.ssl = {"ssl_min_protocol_version": "TLSv1.3"}
    assert local.converge(check_mode=True).plan.reasons == ["reload_not_observable"]
