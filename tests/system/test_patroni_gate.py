# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signals to a real Patroni: none while one could block it, whatever a run changes."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core import processes
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.journal import Journal
from ansible_collections.pgops.tls.plugins.module_utils.patroni import gate, process
from ansible_collections.pgops.tls.plugins.module_utils.restapi import convergence, proof
from ansible_collections.pgops.tls.tests import faults, patroni, restapis
from ansible_collections.pgops.tls.tests.patroni import ACCOUNT, Member, Team
from ansible_collections.pgops.tls.tests.restapis import RestApi
from ansible_collections.pgops.tls.tests.shared import ONLY_THOROUGH
from ansible_collections.pgops.tls.tests.system.conftest import Authority, programs
from ansible_collections.pgops.tls.tests.system.test_patroni import HBA, managed
from cryptography.hazmat.primitives import serialization

pytestmark = restapis.MARKS
RULE = "hostssl all other all reject\n"


@pytest.fixture(scope="module")
def team() -> Iterator[Team]:
    """Run a leader and a replica."""
    with patroni.running(programs()) as running:
        yield running


@pytest.fixture
def api(team: Team) -> Iterator[RestApi]:
    """Give the REST API of the leader, which the collection has not seen yet."""
    with restapis.managed(team.leader) as one:
        yield one


@pytest.fixture
def replica(team: Team) -> Iterator[RestApi]:
    """Give that of the replica."""
    with restapis.managed(team.replica) as one:
        yield one


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Have signals to Patroni counted; its log tells only of those that it hands on to PostgreSQL."""
    signals: list[Any] = []
    reload = process.signal_reload

    def counting(*arguments: Any) -> None:
        signals.append(arguments)
        reload(*arguments)

    monkeypatch.setattr(process, "signal_reload", counting)
    return signals


def encrypted(key: bytes, password: str) -> bytes:
    found = serialization.load_pem_private_key(key, None)
    protection = serialization.BestAvailableEncryption(password.encode())
    return found.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)


def add(member: Member, **keys: str) -> None:
    """Add keys to section restapi that Patroni has not loaded yet."""
    lines = "".join(f"  {key}: '{value}'\n" for key, value in keys.items())
    member.configure(member.config.read_text().replace("restapi:\n", f"restapi:\n{lines}"))


def start_with(member: Member, *environment: str) -> None:
    """Restart Patroni with variables in its environment."""
    os.kill(member.pid(), signal.SIGKILL)
    member.supervised.run("env", *environment, "patroni", member.config)
    patroni.until(member.is_running, member.log)


def silence(one: RestApi, authority: Authority, pair: dict[str, str]) -> None:
    """Have Patroni reload a pair that does not fit."""
    _certificate, key = authority.issue("b", "serverAuth", "IP:127.0.0.1")
    certificate, _key = authority.issue("c", "serverAuth", "IP:127.0.0.1")
    shutil.copyfile(certificate, pair["certfile"])
    shutil.copyfile(key, pair["keyfile"])
    os.kill(one.member.pid(), signal.SIGHUP)
    patroni.until(lambda: "KEY_VALUES_MISMATCH" in one.member.log(), one.member.log)
    patroni.until(lambda: one.served() == "silent", one.member.log)


def test_pairs_that_do_not_fit_are_told_and_never_signalled(api: RestApi, server_authority: Authority) -> None:
    api.settle()
    served, signals = api.served(), api.member.log().count("received SIGHUP")
    generation = (api.directory / "current").resolve()
    certificate, _key = server_authority.issue("other", "serverAuth", "IP:127.0.0.1")
    (generation / "api.crt").write_bytes(certificate.read_bytes())
    found, warnings = restapis.facts(api)
    assert {"api_unfit", "api_old_certificate"} <= set(found["findings"])
    assert [line for line in warnings if "before anybody reloads or restarts Patroni" in line]
    account = processes.account(ACCOUNT, "os_user")
    running = convergence.node_at(str(api.member.data)).patroni
    assert running
    answer = api.look()
    node = proof.Node(running, account, restapis.api.endpoint(f"127.0.0.1:{api.member.api}"), ("", ""))
    with pytest.raises(TlsError, match="It was not reloaded") as failure:
        proof.Prover(node, answer).load("")
    assert failure.value.code == "patroni_restapi_unfit"
    assert api.member.log().count("received SIGHUP") == signals
    api.settle()
    assert api.served() not in ("", "silent", served)


def test_a_pair_that_breaks_after_the_rehearsal_is_put_back_without_a_signal(
    api: RestApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.settle()
    served, signals, disk = api.served(), api.member.log().count("received SIGHUP"), api.disk()
    chains = api.requested(renew=True)
    switch = Journal.switch

    def torn(journal: Journal) -> None:
        switch(journal)
        (api.directory / "current" / "api.key").write_bytes((api.directory / "current" / "ctl.key").read_bytes())

    monkeypatch.setattr(Journal, "switch", torn)
    (api.directory / "current" / "ctl.key").chmod(0o600)
    with pytest.raises(TlsError, match="It was not reloaded") as failure:
        api.converge(renew=True, certificates=chains)
    assert failure.value.details["rolled_back"] is True
    assert api.served() == served
    assert {name: one for name, one in api.disk().items() if "0002" not in name} == disk
    assert api.member.log().count("received SIGHUP") <= signals + 2, "only with the files from before"


@ONLY_THOROUGH
def test_a_silent_rest_api_is_told_and_never_signalled(
    api: RestApi, server_authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = restapis.give(api, server_authority, "own")
    restapis.configure(api, **pair)
    silence(api, server_authority, pair)
    signals, config = counted(monkeypatch), api.member.config.read_bytes()
    assert "api_silent" in restapis.facts(api)[0]["findings"]
    for check_mode in (True, False):
        with pytest.raises(TlsError, match="Do not reload Patroni then") as failure:
            api.converge(check_mode=check_mode)
        assert failure.value.code == "patroni_api_silent"
    assert restapis.facts(api, is_managed=True)[0]["refusal"].startswith("Patroni's REST API")
    assert (signals, api.member.config.read_bytes()) == ([], config)
    assert api.member.psql("SELECT 1") == "1"


@ONLY_THOROUGH
def test_a_change_of_rules_and_its_undoing_never_signal_a_silent_rest_api(
    api: RestApi, server_authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pair is right again when the run comes, so nothing but the silence tells of the reload that failed."""
    member, pair = api.member, restapis.give(api, server_authority, "own")
    restapis.configure(api, **pair)
    with managed(member) as server:
        server.settle()
        with faults.dying("commit"):
            server.converge(hba=HBA + RULE)
        assert "all other all reject" in member.config.read_text()
        silence(api, server_authority, pair)
        restapis.give(api, server_authority, "own")
        monkeypatch.setattr(gate, "SILENCE", 3.0)
        signals = counted(monkeypatch)
        outcome = server.converge()
        assert outcome.changes == ["recovery: the transaction of an interrupted run is undone"]
        assert [line for line in outcome.warnings if "gives no answer. It was not reloaded. Do not" in line]
        disk, config = server.disk(), member.config.read_text()
        assert RULE.strip() not in config
        for check_mode in (True, False):
            with pytest.raises(TlsError, match=r"gives no answer\. Nothing was changed\. Do not reload") as failure:
                server.converge(hba=HBA + RULE, check_mode=check_mode)
            assert failure.value.code == "patroni_api_silent"
        assert (server.disk(), member.config.read_text()) == (disk, config)
        assert signals == []
        turns = member.log().count("the leader with the lock")  # a signal would have blocked the main loop
        patroni.until(lambda: member.log().count("the leader with the lock") > turns + 2, member.log, 15)
        member.start_again()
        assert server.converge(hba=HBA + RULE).changes == ["pg_hba.conf: changed"], "what the message says helps"
        assert len(signals) == 1


def test_a_key_that_the_environment_names_is_loaded_before_rules_change(
    api: RestApi, server_authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file names a key that fits: the environment takes precedence."""
    member, pair = api.member, restapis.give(api, server_authority, "own")
    key, word = member.home / "environment.key", "guarded-4711"
    key.write_bytes(encrypted(Path(pair["keyfile"]).read_bytes(), word))
    member.give(key, 0o600)
    restapis.configure(api, **pair)
    given = [f"PATRONI_RESTAPI_KEYFILE={key}", f"PATRONI_RESTAPI_KEYFILE_PASSWORD={word}"]
    start_with(member, *given)
    with managed(member) as server:
        server.settle()
        disk, config, signals = server.disk(), member.config.read_bytes(), counted(monkeypatch)
        _certificate, other = server_authority.issue("b", "serverAuth", "IP:127.0.0.1")
        shutil.copyfile(other, key)
        with pytest.raises(TlsError, match=r"restapi \(PATRONI_RESTAPI_KEYFILE in its environment\)") as failure:
            server.converge(hba=HBA + RULE)
        assert failure.value.code == "patroni_restapi_unfit"
        assert word not in failure.value.message
        assert (server.disk(), member.config.read_bytes()) == (disk, config)
        assert signals == []
        member.configure(member.text())
        member.start_again()


@pytest.mark.parametrize("place", ["file", "environment"])
def test_ciphers_that_select_nothing_are_refused_before_rules_change(
    api: RestApi, server_authority: Authority, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Patroni loads them only when it opens its REST API again, and that thread ends with them."""
    member, pair, wrong = api.member, restapis.give(api, server_authority, "own"), "HIHG:!aNULL"
    if place == "file":
        restapis.configure(api, **pair)
    else:
        start_with(member, f"PATRONI_RESTAPI_CIPHERS={wrong}")
    with managed(member) as server:
        server.settle()
        add(member, **({"ciphers": wrong} if place == "file" else pair))
        assert "api_unfit" in restapis.facts(api)[0]["findings"]
        disk, config, signals = server.disk(), member.config.read_bytes(), counted(monkeypatch)
        with pytest.raises(TlsError, match=f"ciphers: '{wrong}' selects no cipher") as failure:
            server.converge(hba=HBA + RULE)
        assert failure.value.code == "patroni_restapi_unfit"
        assert ("PATRONI_RESTAPI_CIPHERS in its environment" in failure.value.message) is (place == "environment")
        assert (server.disk(), member.config.read_bytes(), signals) == (disk, config, [])
        if place == "file":
            member.configure(member.config.read_text().replace(wrong, "HIGH:!aNULL"))
            assert server.converge(hba=HBA + RULE).changes == ["pg_hba.conf: changed"], "what the message says helps"
            assert api.served() not in ("", "silent")


@ONLY_THOROUGH
def test_a_patroni_that_stops_in_the_middle_is_put_back_and_finished_by_the_next_run(
    replica: RestApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = replica  # a leader that stops for so long loses its key
    api.settle()
    served = api.served()
    chains = api.requested(renew=True)
    monkeypatch.setattr(gate, "SILENCE", 1.0)
    reload = process.signal_reload
    pid = api.member.pid()

    def stopped(*arguments: Any) -> None:
        reload(*arguments)
        os.kill(pid, signal.SIGSTOP)

    monkeypatch.setattr(process, "signal_reload", stopped)
    try:
        with pytest.raises(TlsError, match=r"gives no answer.*Do not reload Patroni") as failure:
            api.converge(renew=True, certificates=chains)
        assert failure.value.details["rolled_back"] is False, "the files are back, and nobody can prove it"
    finally:
        os.kill(pid, signal.SIGCONT)
    monkeypatch.undo()
    assert not (api.directory / "journal.json").exists()
    api.settle(renew=True)
    assert api.served() not in ("", "silent", served)
