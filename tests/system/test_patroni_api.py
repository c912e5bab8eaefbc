# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The REST API of a real Patroni: set-up, renewal, trust, members that differ, faults, and the way back."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.patroni import process
from ansible_collections.pgops.tls.plugins.module_utils.restapi import asking, proof
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import read_pem
from ansible_collections.pgops.tls.tests import faults, patroni, restapis
from ansible_collections.pgops.tls.tests.patroni import Member, Team
from ansible_collections.pgops.tls.tests.restapis import CLIENTS, RestApi
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY
from ansible_collections.pgops.tls.tests.shared import DAY, IS_THOROUGH
from ansible_collections.pgops.tls.tests.system.conftest import Authority, programs

pytestmark = restapis.MARKS
STEP = 1 if IS_THOROUGH else 61  # points from one that is tried to the next


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
def both(team: Team) -> Iterator[list[RestApi]]:
    """Give the REST APIs of the replica and the leader, in the order in which they change."""
    with restapis.managed(team.replica) as one, restapis.managed(team.leader) as two:
        yield [one, two]


def announced(one: RestApi, to: RestApi) -> None:
    """Wait until a member has written its address to the store, as it does once in a loop, and another sees it."""

    def is_seen() -> bool:
        listed = to.member.ask("cluster").get("members", ())
        return any(found["name"] == one.member.name and found["api_url"].startswith("https") for found in listed)

    patroni.until(is_seen, to.member.log)


def leader_since(team: Team) -> str:
    return team.leader.psql("SELECT pg_postmaster_start_time()") + team.leader.name


def test_a_set_up_is_in_force_and_is_done_once(both: list[RestApi], team: Team) -> None:
    before = leader_since(team)
    for one in both:
        config = one.member.config.read_text()
        assert restapis.facts(one)[0]["findings"] == ["api_plaintext", "login_not_verified"]
        asked, warnings = restapis.facts(one, is_managed=True)
        assert (asked["due"], asked["is_adopted"], len(asked["requests"])) == (True, False, 2)
        assert not [line for line in warnings if "by https only" in line], "it stays as it is until they have come"
        assert one.member.config.read_text() == config, "asking changes nothing"
        done = one.settle()
        assert [line for line in done.warnings if "is reached by https only from now on" in line]
        assert one.served() == done.after["api"].sha256
        assert one.verified() == 200
        after = yaml.safe_load(one.member.config.read_text())
        assert {**after, "restapi": 0, "ctl": 0} == {**yaml.safe_load(config), "restapi": 0, "ctl": 0}
        rows = one.member.config.read_text().splitlines()
        assert [row for row in config.splitlines() if row not in rows] == []
        disk = one.disk()
        again = one.settle()
        assert (again.changes, again.warnings, again.requests) == ([], [], {})
        assert one.disk() == disk
        said, warnings = restapis.facts(one, is_managed=True)
        assert (said["due"], said["is_adopted"], said["requests"]) == (False, True, [])
        assert said["certificates"]["api"]["serial"] == said["api"]["serial"] == f"{done.after['api'].serial:x}"
        assert said["findings"] == ["login_not_verified"]
    assert leader_since(team) == before
    for one in both:  # patronictl verifies the member that it asks
        others = [two for two in both if two is not one]
        told_ = one.member.patronictl("reload", "shop", others[0].member.name, "--force")
        assert "Reload request received" in told_


def test_a_renewal_leaves_the_file_of_patroni_alone_and_fails_nobody_over(both: list[RestApi], team: Team) -> None:
    for one in both:
        one.settle()
    before = leader_since(team)
    for one in both:
        config, first, key = (
            one.member.config.stat(),
            one.served(),
            (one.directory / "current" / "api.key").read_bytes(),
        )
        done = one.settle(renew=True)
        assert one.served() == done.after["api"].sha256 != first
        assert one.member.config.stat() == config
        assert (one.directory / "current" / "api.key").read_bytes() == key, "certificate and key fit at any moment"
        assert one.verified() == 200
        assert not list((one.directory / "pending").iterdir())
    assert leader_since(team) == before


def test_a_renewal_of_the_client_alone_reloads_nobody(api: RestApi) -> None:
    first = api.settle()
    signals = api.member.log().count("received SIGHUP")
    done = api.settle(client_revoked=[f"{first.after['ctl'].serial:x}"])
    assert done.after["ctl"] != first.after["ctl"]
    assert done.after["api"] == first.after["api"]
    assert api.member.log().count("received SIGHUP") == signals
    assert api.verified() == 200


def test_changed_trust_is_in_force_at_once(api: RestApi) -> None:
    api.settle()
    api.member.configure(api.member.config.read_text().replace("restapi:\n", "restapi:\n  verify_client: required\n"))
    api.member.start_again()
    other = issuing.new_authority("patroni", "P-256", TODAY)
    first = api.served()
    outcome = api.settle(
        trusted_clients=other.root.pem + CLIENTS.root.pem + CLIENTS.issuing.pem,
        client_issuing=CLIENTS.issuing.pem,
    )
    assert "api certificate: trust_changed" in outcome.changes
    assert api.served() != first
    assert api.verified() == 200, "verify_client is required, and this node's certificate is accepted"
    trusted = (api.directory / "current" / "trusted-clients.crt").read_text()
    assert {one.der for one in read_pem(trusted, "file")} >= {other.root.der, CLIENTS.root.der}
    assert api.settle(trusted_clients=other.root.pem + CLIENTS.root.pem + CLIENTS.issuing.pem).changes == []


def test_a_paused_cluster_gets_new_certificates_too(api: RestApi) -> None:
    api.member.patronictl("pause", "shop", "--wait")
    try:
        assert api.served() != api.settle().after["api"].sha256 == api.served()
        first = api.served()
        api.settle(renew=True)
        assert api.served() not in ("", first)
    finally:
        api.member.patronictl("resume", "shop", "--wait")


def test_a_change_of_patronis_file_beside_a_new_certificate_hides_it_from_one_signal_only(
    api: RestApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.settle()
    monkeypatch.setattr(proof, "_PATIENCE", (4.0, 60.0))
    api.member.configure(api.member.config.read_text().replace("fsync: 'off'", "fsync: 'on'"))
    first, signals = api.served(), api.member.log().count("received SIGHUP")
    api.settle(renew=True)
    assert api.served() != first
    assert api.member.log().count("received SIGHUP") >= signals + 2


def test_after_a_switchover_the_next_run_changes_nothing(both: list[RestApi], team: Team) -> None:
    for one in both:
        one.settle()
    served = [one.served() for one in both]
    team.switch_over()
    assert [one.settle().changes for one in both] == [[], []]
    assert [one.served() for one in both] == served
    both[0].settle(renew=True)
    assert both[0].served() != served[0], "the new leader"


def test_a_member_that_is_down_stops_nobody(both: list[RestApi]) -> None:
    replica, leader = both
    replica.settle()
    announced(replica, leader)
    os.kill(replica.member.pid(), signal.SIGSTOP)
    try:
        outcome = leader.settle()
        assert [line for line in outcome.warnings if "its REST API was not reached, so nothing is proven" in line]
        assert leader.verified() == 200
    finally:
        os.kill(replica.member.pid(), signal.SIGCONT)
    assert leader.settle().warnings == []


def test_a_member_that_was_refused_before_stops_nobody_and_is_told(
    both: list[RestApi], server_authority: Authority
) -> None:
    replica, leader = both
    leader.settle()
    restapis.configure(replica, **restapis.give(replica, server_authority, "foreign"))
    disk, served = leader.disk(), leader.served()
    announced(replica, leader)
    outcome = leader.settle(renew=True)
    assert [line for line in outcome.warnings if "refuse each other, as before" in line], outcome.warnings
    assert leader.served() != served
    assert leader.disk() != disk


def test_members_that_would_refuse_the_new_client_certificate_stop_the_run(both: list[RestApi]) -> None:
    for one in both:
        one.settle()
    replica, leader = both
    replica.member.configure(
        replica.member.config.read_text().replace("restapi:\n", "restapi:\n  verify_client: required\n")
    )
    replica.member.start_again()
    other = issuing.new_authority("patroni", "P-256", TODAY)
    trusting = {"trusted_clients": other.root.pem + other.issuing.pem, "client_issuing": other.issuing.pem}
    requests = leader.converge(renew=True, **trusting).requests
    disk, served = leader.disk(), leader.served()
    chains = {
        "api": restapis.sign("api", requests["api"]),
        "ctl": restapis.sign("ctl", requests["ctl"], authority=other),
    }
    with pytest.raises(TlsError, match="would refuse each other") as failure:
        leader.converge(renew=True, certificates=chains, **trusting)
    assert failure.value.code == "patroni_member_refused"
    assert (leader.disk(), leader.served()) == (disk, served)


def test_a_certificate_for_another_key_or_name_stops_the_run_before_anything(api: RestApi) -> None:
    requests = api.converge().requests
    config = api.member.config.read_bytes()
    chains = {name: restapis.sign(name, csr) for name, csr in requests.items()}
    swapped = {**chains, "api": restapis.sign("api", requests["ctl"])}
    with pytest.raises(TlsError, match="issued for another key") as failure:
        api.converge(certificates=swapped)
    assert failure.value.code == "certificate_for_other_key"
    with pytest.raises(TlsError, match="did not issue what was asked for: san_missing"):
        api.converge(certificates=chains, names=["127.0.0.1", "pg9.example.com"])
    with pytest.raises(TlsError, match="none of the names of this server") as failure:
        api.converge(names=["pg1.example.com"])
    assert failure.value.code == "patroni_name_missing"
    assert api.member.config.read_bytes() == config
    assert api.served() == ""


def test_a_patroni_whose_own_client_refuses_dns_names_is_refused(api: RestApi, monkeypatch: pytest.MonkeyPatch) -> None:
    without_idna = api.member.home / "python-without-idna"
    without_idna.write_text(
        '#!/bin/sh\n[ "$1" = -c ] && code=$2 && shift 2\n'
        'exec /usr/bin/python3 -c "import sys; sys.modules[\'idna\'] = None\n$code" "$@"\n'
    )
    api.member.give(without_idna, 0o755)
    chains, config = api.requested(), api.member.config.read_bytes()
    find = process.find
    monkeypatch.setattr(process, "find", lambda *place: find(*place)._replace(python=str(without_idna)))  # type: ignore[union-attr]
    with pytest.raises(TlsError, match=r"does not take the new files: .*idna.* Install package idna") as failure:
        api.converge(certificates=chains)
    assert failure.value.code == "patroni_client_unfit"
    assert (api.member.config.read_bytes(), api.served()) == (config, "")


def test_files_of_somebody_else_are_refused_or_repaired(api: RestApi) -> None:
    api.directory.mkdir(parents=True)
    for path in (api.directory.parent, api.directory):
        os.chown(path, 0, 0)
    with pytest.raises(TlsError, match="belongs to user id 0") as failure:
        api.converge()
    assert failure.value.code == "directory_wrong_owner"
    shutil.rmtree(api.directory.parent)
    api.settle()
    served = api.served()
    key = api.directory / "current" / "api.key"
    os.chown(key, 0, 0)
    outcome = api.settle()
    assert "api certificate: key_missing" in outcome.changes
    assert api.served() != served, "a key that Patroni could not read is no longer in use"


def test_what_is_about_to_expire_is_told_and_renewed(api: RestApi, server_authority: Authority) -> None:
    restapis.configure(api, **restapis.give(api, server_authority, "short", days=10))
    assert restapis.facts(api)[0]["findings"] == ["login_not_verified"]
    assert "api_expires_soon" in restapis.facts(api, now=TODAY + 9 * DAY)[0]["findings"]
    found, warnings = restapis.facts(api, now=TODAY + 11 * DAY)
    assert "api_expired" in found["findings"]
    assert [line for line in warnings if "the certificate in restapi.certfile ended at" in line]


def trust(one: RestApi, *authorities: bytes) -> str:
    """Give a member a file with roots beside its own files; return its path."""
    roots = one.member.home / "ca.crt"
    roots.write_bytes(b"".join(authorities))
    one.member.give(roots, 0o644)
    return str(roots)


def test_a_rest_api_with_tls_of_another_authority_is_taken_over(
    both: list[RestApi], server_authority: Authority, team: Team
) -> None:
    before = leader_since(team)
    company, own = server_authority.root.read_bytes(), AUTHORITIES["server"].root.pem.encode()
    for one in both:
        pair = restapis.give(one, server_authority, one.member.name)
        restapis.configure(one, **pair, cafile=trust(one, company))
    disk = both[0].disk()
    with pytest.raises(TlsError, match="It would refuse those that get theirs first") as failure:
        both[0].converge()
    assert failure.value.code == "patroni_trust_missing"
    assert {**both[0].disk(), "yml": 0} == {**disk, "yml": 0}
    for one in both:
        trust(one, company, own)
    announced(*both)
    announced(*reversed(both))
    for one in both:
        outcome = one.settle()
        assert one.served() == outcome.after["api"].sha256
        assert [line for line in outcome.warnings if "refuse each other" in line] == []
        if one is both[0]:  # the other one has not moved yet
            kept = one.settle(ends_former_trust=True)
            assert kept.changes == []
            [told] = [line for line in kept.warnings if "has shown no certificate of the declared authority" in line]
            assert both[1].member.name in told
    for one in both:
        assert restapis.facts(one, is_managed=True)[0]["has_former_trust"] is True
        ended = one.settle(ends_former_trust=True)
        assert "root.crt: changed" in ended.changes
        assert one.settle().changes == []
    assert leader_since(team) == before
    disk, served = both[0].disk(), both[0].served()
    for check_mode in (True, False):
        with pytest.raises(TlsError, match=f"{both[1].member.name} .*it trusts no authority of the cert") as failure:
            both[0].remove(check_mode=check_mode)
        assert failure.value.code == "patroni_member_refused"
        assert (both[0].disk(), both[0].served()) == (disk, served)
    for one in both:  # what the message says
        config = one.member.config.read_text()
        cacert = one.directory / "current" / "root.crt"
        one.member.configure(config.replace(f"cacert: {cacert}", f"cacert: {one.member.home}/ca.crt"))
        one.member.reload()
    for one in both:
        assert one.remove().warnings == []
        found = yaml.safe_load(one.member.config.read_text())
        assert found["restapi"]["cafile"] == str(one.member.home / "ca.crt")
        assert one.served() not in ("", "silent")
        assert found["ctl"] == {"cacert": str(one.member.home / "ca.crt")}


def test_a_removal_asks_the_other_members_while_the_former_authority_is_trusted(
    both: list[RestApi], server_authority: Authority
) -> None:
    company, own = server_authority.root.read_bytes(), AUTHORITIES["server"].root.pem.encode()
    for one in both:
        pair = restapis.give(one, server_authority, one.member.name)
        restapis.configure(one, **pair, cafile=trust(one, company, own))
    announced(*both)
    announced(*reversed(both))
    for one in both:
        one.settle()
    trust(both[0], company)
    disk, served = both[0].disk(), both[0].served()
    with pytest.raises(TlsError, match=f"{both[1].member.name} .*certificate") as failure:
        both[0].remove()
    assert failure.value.code == "patroni_member_refused"
    assert (both[0].disk(), both[0].served()) == (disk, served)
    trust(both[0], company, own)
    for one in both:
        assert one.remove().warnings == []
        assert "ctl" not in yaml.safe_load(one.member.config.read_text())
        assert one.served() not in ("", "silent")


def test_a_removal_leads_back(api: RestApi) -> None:
    config = api.member.config.read_bytes()
    api.settle()
    foreseen = api.remove(check_mode=True).changes
    assert api.served() != ""
    assert api.remove().changes == foreseen
    assert api.member.config.read_bytes() == config
    assert api.served() == ""
    assert not api.directory.exists()
    assert api.remove().changes == []
    assert api.remove(check_mode=True).changes == []


def test_a_removal_that_patroni_could_not_follow_changes_nothing(api: RestApi, server_authority: Authority) -> None:
    pair = restapis.give(api, server_authority, "own")
    restapis.configure(api, **pair)
    api.settle()
    Path(pair["keyfile"]).unlink()
    disk = api.disk()
    for check_mode in (True, False):
        with pytest.raises(TlsError, match="Patroni could not use what is left") as failure:
            api.remove(check_mode=check_mode)
        assert failure.value.code == "own_tls_unusable"
    assert api.disk() == disk


def test_a_roll_back_leads_to_the_certificate_before(api: RestApi) -> None:
    api.settle()
    first = api.served()
    with pytest.raises(TlsError) as failure:
        api.roll_back()
    assert failure.value.code == "previous_generation_missing"
    api.settle(renew=True)
    assert api.served() != first
    outcome = api.roll_back()
    assert api.served() == first
    assert outcome.next_run == []
    assert api.roll_back().changes == []
    assert api.settle().changes == []
    assert api.verified() == 200


def test_a_run_that_is_killed_anywhere_is_finished_by_the_next(api: RestApi) -> None:
    chains = api.requested()
    saved, config = faults.everything(api.directory), api.member.config.read_text()
    for _number in faults.deaths(lambda: api.converge(certificates=chains), STEP):
        api.converge(certificates=chains)
        assert api.verified() == 200
        assert api.settle().changes == []
        assert not (api.directory / "journal.json").exists()
        api.member.configure(config)
        faults.put_back(api.directory, saved)
        api.member.start_again()


@pytest.mark.parametrize("step", ["switch", "commit"])
def test_what_a_run_left_is_undone_before_anything_else(api: RestApi, step: str) -> None:
    api.settle()
    served, config = api.served(), api.member.config.read_bytes()
    chains = api.requested(renew=True)
    with faults.dying(step):
        api.converge(renew=True, certificates=chains)
    assert (api.served() != served) is (step == "commit")
    foreseen = api.converge(check_mode=True)
    assert foreseen.changes == ["Patroni's REST API: recovery: the transaction of an interrupted run is undone"]
    outcome = api.converge(kind=asking.Recovering)
    assert outcome.changes == foreseen.changes
    assert (api.served(), api.member.config.read_bytes()) == (served, config)
    assert api.settle().changes == []


def test_a_damaged_journal_is_set_aside_where_all_is_consistent(api: RestApi) -> None:
    api.settle()
    (api.directory / "journal.json").write_text("{")
    Member.give(api.member, api.directory / "journal.json", 0o600)
    outcome = api.settle()
    assert [line for line in outcome.warnings if "The REST API is consistent nevertheless" in line]
    assert api.settle().changes == []
