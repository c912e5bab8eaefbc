# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that go back to the generation before: what comes back, what is refused, what the next run does."""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.core import clock
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.server import difference, proof
from ansible_collections.pgops.tls.plugins.module_utils.server import roll_back as roll_back_module
from ansible_collections.pgops.tls.tests import faults
from ansible_collections.pgops.tls.tests.clients import copy
from ansible_collections.pgops.tls.tests.servers import TODAY, Server, sign
from ansible_collections.pgops.tls.tests.shared import DAY, IS_THOROUGH

ROLL_BACK_STEP = 1 if IS_THOROUGH else 37  # points from one that is looked at to the next
STRICT = {"ssl_min_protocol_version": "TLSv1.3"}


def in_use(server: Server) -> dict[str, bytes]:
    """Return the files of the generation in use, without the mark of a roll-back."""
    return {name: content for name, content in server.used().items() if name != "rolled-back-from"}


def generations(server: Server) -> list[str]:
    return sorted(os.listdir(server.directory / "generations"))


@pytest.fixture
def first(managed: Server) -> dict[str, bytes]:
    """Renew a server with other settings; return the files of its generation before."""
    files = in_use(managed)
    managed.ssl = dict(STRICT)
    managed.settle(renew=True)
    assert in_use(managed) != files
    return files


def test_the_files_of_the_generation_before_are_served_again(managed: Server, first: dict[str, bytes]) -> None:
    rules = (managed.cluster.data / "pg_hba.conf").read_bytes()
    left = managed.served()
    outcome = managed.roll_back()
    assert in_use(managed) == first
    assert outcome.leaf
    assert outcome.leaf_before
    assert (managed.served(), outcome.leaf_before.sha256) == (outcome.leaf.sha256, left)
    assert managed.cluster.psql("SHOW ssl_min_protocol_version") == "TLSv1.2"
    end = clock.instant(outcome.leaf.not_after)
    assert outcome.changes == [
        "generation: from 0002 back to the files of 0001",
        f"certificate: serial {outcome.leaf_before.serial:x} -> {outcome.leaf.serial:x}, not after {end}",
        "ssl.conf: ssl_min_protocol_version 'TLSv1.3' -> 'unset'",
    ]
    assert (managed.cluster.data / "pg_hba.conf").read_bytes() == rules
    assert generations(managed) == ["0002", "0003"], "the generation that was left is still there"
    managed.restart()
    assert managed.served() == outcome.leaf.sha256


@pytest.mark.usefixtures("first")
def test_a_second_roll_back_changes_nothing(managed: Server) -> None:
    managed.roll_back()
    before = managed.inodes()
    outcome = managed.roll_back()
    assert outcome.changes == []
    assert outcome.next_run == ["ssl.conf: ssl_min_protocol_version 'unset' -> 'TLSv1.3'"]
    assert managed.inodes() == before


def test_a_key_that_waits_for_a_company_outlives_it(managed: Server, first: dict[str, bytes]) -> None:
    assert managed.converge(renew=True).request
    key = managed.directory / "pending" / "server.key"
    waiting = key.read_bytes()
    os.utime(key, (TODAY - 7200, TODAY - 7200))
    assert managed.roll_back().changes
    assert in_use(managed) == first
    assert managed.converge(renew=True).request
    assert key.read_bytes() == waiting, "what the company signs is for this key"


@pytest.mark.usefixtures("first")
def test_check_mode_foresees_it_and_changes_nothing(managed: Server) -> None:
    before, served = managed.disk(), managed.served()
    foreseen = managed.roll_back(check_mode=True)
    assert (managed.disk(), managed.served()) == (before, served)
    shown = {
        one["before_header"]: (one["before"], one["after"])
        for one in difference.of_plan(foreseen.plan, foreseen.target, foreseen.leaf_before, foreseen.ssl_conf_before)
    }
    assert set(shown) == {"server.crt", "ssl.conf"}
    done = managed.roll_back()
    assert foreseen.changes == done.changes
    assert foreseen.next_run == done.next_run
    assert shown["server.crt"] == (difference.described(done.leaf_before), difference.described(done.leaf))
    assert "TLSv1.3" in shown["ssl.conf"][0]
    assert "TLSv1.3" not in shown["ssl.conf"][1]


def test_the_next_run_keeps_the_certificate_and_brings_declared_settings_back(
    managed: Server, first: dict[str, bytes]
) -> None:
    outcome = managed.roll_back()
    again = managed.settle()
    assert again.changes == list(outcome.next_run or ())
    assert in_use(managed)["server.crt"] == first["server.crt"]
    assert managed.cluster.psql("SHOW ssl_min_protocol_version") == "TLSv1.3"
    assert generations(managed) == ["0003", "0004"]


def test_the_next_run_changes_nothing_where_nothing_else_is_declared(managed: Server) -> None:
    files = in_use(managed)
    managed.settle(renew=True)
    outcome = managed.roll_back()
    assert outcome.next_run == []
    before = managed.inodes()
    assert managed.settle().changes == []
    assert managed.inodes() == before, "the generation that was left is still there, too"
    assert in_use(managed) == files


def test_after_the_next_change_the_generation_before_is_the_one_that_came_back(
    managed: Server, first: dict[str, bytes]
) -> None:
    managed.roll_back()
    managed.settle(renew=True)
    assert managed.roll_back().changes
    assert in_use(managed) == first


def test_the_same_certificate_with_other_settings_is_proven_by_the_log(managed: Server) -> None:
    files = in_use(managed)
    managed.ssl = dict(STRICT)
    managed.settle()
    assert in_use(managed)["server.crt"] == files["server.crt"]
    assert managed.roll_back().changes[1:] == ["ssl.conf: ssl_min_protocol_version 'TLSv1.3' -> 'unset'"]
    assert managed.cluster.psql("SHOW ssl_min_protocol_version") == "TLSv1.2"


# What is refused before anything changes


def refused(server: Server, match: str, **options: Any) -> None:
    before, served = server.inodes(), server.served()
    for check_mode in (True, False):
        with pytest.raises(TlsError, match=match):
            server.roll_back(check_mode=check_mode, **options)
        now = {path: traits for path, traits in server.inodes().items() if not path.endswith("/generations")}
        assert now == {path: traits for path, traits in before.items() if not path.endswith("/generations")}
        assert server.served() == served


@pytest.mark.usefixtures("first")
def test_a_declared_setting_that_the_server_does_not_have_is_no_obstacle(managed: Server) -> None:
    managed.ssl = {"ssl_cihpers": "HIGH"}
    outcome = managed.roll_back()
    assert outcome.changes[0] == "generation: from 0002 back to the files of 0001"
    assert outcome.next_run == ["ssl.conf: ssl_cihpers 'unset' -> 'HIGH'"]


def test_there_has_to_be_a_generation_before(managed: Server) -> None:
    refused(managed, "there is no generation before 0001, so a roll-back is impossible")


def test_a_server_that_was_never_set_up_has_nothing_to_go_back_to(server: Server) -> None:
    with pytest.raises(TlsError, match="there is no generation before the first one"):
        server.roll_back()
    assert not server.directory.exists()


def test_an_expired_certificate_does_not_come_back(server: Server) -> None:
    request = server.converge().request
    assert request
    server.converge(certificate=sign(request, ["localhost", "127.0.0.1"], days=1))
    server.settle(renew=True)
    refused(
        server, "0001, the previous one, cannot be restored.*server.crt: its certificate expired", now=TODAY + 2 * DAY
    )


def test_a_certificate_without_a_declared_name_does_not_come_back(managed: Server) -> None:
    names = ["localhost", "127.0.0.1", "db2.example.com"]
    managed.settle(names=names)
    refused(managed, "cannot be restored.*db2.example.com.*[Hh]ostname mismatch", names=names)
    assert managed.roll_back().changes


def test_trust_without_an_authority_that_is_trusted_now_does_not_come_back(managed: Server) -> None:
    other = issuing.new_authority("client", "P-256", TODAY)
    both = managed.all_options()["trusted_clients"] + other.root.pem
    managed.settle(trusted_clients=both)
    refused(managed, "trusted-clients.crt: it does not trust 'PostgreSQL client root", trusted_clients=both)


def test_trust_in_more_than_now_comes_back(managed: Server) -> None:
    only = managed.all_options()["trusted_clients"]
    managed.settle(trusted_clients=only + issuing.new_authority("client", "P-256", TODAY).root.pem)
    managed.settle(trusted_clients=only)
    assert managed.roll_back(trusted_clients=only).changes[1:] == ["trusted-clients.crt: changed"]


def test_a_certificate_of_authorities_that_clients_do_not_trust_does_not_come_back(managed: Server) -> None:
    managed.settle(renew=True)
    other = issuing.new_authority("server", "P-256", TODAY)
    refused(managed, "cannot be restored.*local issuer", roots=other.root.pem)


def test_settings_that_the_server_would_not_take_do_not_come_back(managed: Server) -> None:
    managed.settle(renew=True)
    conf = managed.directory / "generations" / "0001" / "ssl.conf"
    conf.write_text(conf.read_text() + "ssl_from_the_future = 'on'\n")
    refused(managed, "has no setting 'ssl_from_the_future'")


@pytest.mark.parametrize("name", ["server.crt", "server.key", "trusted-clients.crt", "ssl.conf"])
def test_a_generation_with_a_missing_file_does_not_come_back(managed: Server, name: str) -> None:
    managed.settle(renew=True)
    (managed.directory / "generations" / "0001" / name).unlink()
    refused(managed, f"0001, the previous one, cannot be restored.*{name}: expected in it")


def test_a_key_of_another_certificate_does_not_come_back(managed: Server) -> None:
    managed.settle(renew=True)
    key = managed.directory / "generations" / "0001" / "server.key"
    key.write_bytes((managed.directory / "current" / "server.key").read_bytes())
    refused(managed, "cannot be restored.*does not belong to")


def test_a_generation_with_the_same_files_is_no_way_back(managed: Server) -> None:
    (managed.directory / "current" / "server.crt").chmod(0o600)
    managed.settle()
    refused(managed, "It has the same files as 0002")


def test_a_broken_configuration_of_somebody_else_is_named(managed: Server) -> None:
    managed.settle(renew=True)
    managed.cluster.append("postgresql.conf", "no_such_setting = 1\n")
    refused(managed, "would apply nothing at a reload because of .*postgresql.conf line")


def test_the_same_certificate_does_not_come_back_where_no_log_could_prove_it(
    managed: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    managed.ssl = dict(STRICT)
    managed.settle()
    monkeypatch.setattr(proof.Prover, "observes_log", lambda _prover: False)
    refused(managed, "no handshake could prove the change")


# What fails, and runs that died


def test_a_roll_back_that_the_server_refuses_is_undone_and_that_is_proven(
    managed: Server, first: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, served = in_use(managed), managed.served()
    original = roll_back_module.RollBack._rehearse

    def then_loosened(self: Any, generation: str | None) -> None:
        original(self, generation)
        if generation == "0003":
            Path(self.store.path(generation, "server.key")).chmod(0o644)

    monkeypatch.setattr(roll_back_module.RollBack, "_rehearse", then_loosened)
    with pytest.raises(TlsError, match="has group or world access") as caught:
        managed.roll_back()
    assert caught.value.details["rolled_back"] is True
    assert (in_use(managed), managed.served()) == (before, served)
    assert generations(managed) == ["0001", "0002"]
    monkeypatch.undo()
    assert managed.roll_back().changes
    assert in_use(managed) == first


def test_a_run_that_died_is_undone_and_that_is_the_way_back(managed: Server) -> None:
    managed.settle(renew=True)
    before = in_use(managed)
    managed.ssl = dict(STRICT)
    with faults.dying():
        managed.settle()
    assert in_use(managed) != before
    foreseen = managed.roll_back(check_mode=True)
    done = managed.roll_back()
    assert foreseen.changes == done.changes == ["recovery: the transaction of an interrupted run is undone"]
    assert in_use(managed) == before


def test_a_roll_back_that_died_is_made_by_the_next_one(managed: Server, first: dict[str, bytes]) -> None:
    with faults.dying():
        managed.roll_back()
    foreseen = managed.roll_back(check_mode=True)
    done = managed.roll_back()
    assert foreseen.changes == done.changes
    assert [change.split(":")[0] for change in done.changes] == ["recovery", "generation", "certificate", "ssl.conf"]
    assert in_use(managed) == first


@pytest.mark.usefixtures("first")
def test_a_roll_back_that_died_is_undone_by_the_next_run(managed: Server) -> None:
    before = in_use(managed)
    with faults.dying():
        managed.roll_back()
    assert managed.settle().changes == ["recovery: the transaction of an interrupted run is undone"]
    assert in_use(managed) == before
    assert generations(managed) == ["0001", "0002"]


def restored(server: Server, saved: Path) -> None:
    """Put everything back to what was saved."""
    copy(saved, server.directory)
    server.cluster.psql("SELECT pg_reload_conf()")


def leftovers(server: Server) -> list[str]:
    signs = ("pgops-new", "staging", "backup", "journal.json")
    return [path for path in faults.everything(server.directory) if any(sign in path for sign in signs)]


def test_a_death_at_any_point_leaves_the_old_state_or_the_new_one(managed: Server, first: dict[str, bytes]) -> None:
    second, saved = in_use(managed), managed.cluster.home / "saved"
    copy(managed.directory, saved)
    old = managed.served()
    managed.roll_back()
    new = managed.served()
    restored(managed, saved)
    seen = []
    for number in faults.deaths(managed.roll_back, ROLL_BACK_STEP):
        assert managed.served() in (old, new), f"point {number}"
        copy(managed.directory, managed.cluster.home / "died")
        managed.restart()
        assert managed.served() in (old, new), f"point {number}, restarted"
        managed.roll_back()  # the next roll-back ends it
        assert (in_use(managed), managed.served()) == (first, new), f"point {number}"
        assert leftovers(managed) == []
        restored(managed, managed.cluster.home / "died")
        managed.settle()  # the next run undoes it, or keeps the certificate that came back
        now = in_use(managed)
        assert now["server.crt"] in (first["server.crt"], second["server.crt"])
        assert now["ssl.conf"] == second["ssl.conf"]
        assert leftovers(managed) == []
        seen.append(now["server.crt"] == second["server.crt"])
        restored(managed, saved)
    assert True in seen


def test_a_failure_at_any_point_is_undone_at_once_and_proven(managed: Server, first: dict[str, bytes]) -> None:
    second, saved, old = in_use(managed), managed.cluster.home / "saved", managed.served()
    copy(managed.directory, saved)
    undone = 0
    for number in itertools.count(0, ROLL_BACK_STEP):
        with faults.failing(number) as failed, contextlib.suppress(TlsError):
            managed.roll_back()
        if not failed:
            break
        if in_use(managed) == second:
            assert managed.served() == old
            undone += 1
        else:
            assert in_use(managed) == first, f"point {number}"
        assert not (managed.directory / "journal.json").exists(), f"point {number}"
        restored(managed, saved)
    assert undone
