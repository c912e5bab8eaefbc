# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs when the files of identities have changed: once, not without a change, and not forgotten."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.client import after_change
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.tests.clients import OTHER, Clients, User, chains, identity, snapshot, used
from ansible_collections.pgops.tls.tests.servers import AUTHORITIES, TODAY
from ansible_collections.pgops.tls.tests.shared import DAY, ends, is_running

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make OS users")


class Hooked:
    """An OS user with the identities app and report, whose hook writes a line into a file."""

    def __init__(self, clients: Clients, user: User) -> None:
        self.clients, self.user = clients, user
        self.log = user.write("hooks.log", "")
        self.hook: dict[str, Any] = {"command": ["sh", "-c", f"id -un >> {self.log}; cat {user.store}/current/*/*.crt"]}
        self.identities = [{**identity(user, role), "after_change": self.hook} for role in ("app", "report")]
        clients.options["identities"] = self.identities

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()

    def with_hook(self, *argv: str, **more: Any) -> list[dict[str, Any]]:
        return [{**one, "after_change": {"command": list(argv), **more}} for one in self.identities]


@pytest.fixture
def hooked(clients: Clients, alice: User) -> Hooked:
    return Hooked(clients, alice)


def test_it_runs_once_for_all_identities_that_have_it_as_their_os_user(hooked: Hooked) -> None:
    first = hooked.clients.call()
    assert hooked.lines() == [], "nothing has changed yet"
    done = hooked.clients.call(certificates=chains(first))
    assert hooked.lines() == [hooked.user.name]
    assert done["changes"][-1] == f"{hooked.user.name}/app: after_change: command sh succeeded"


def test_it_does_not_run_where_nothing_changed(hooked: Hooked) -> None:
    hooked.clients.converge()
    before = snapshot(hooked.user.home)
    assert hooked.clients.call()["changed"] is False
    assert snapshot(hooked.user.home) == before
    assert len(hooked.lines()) == 1


def test_check_mode_names_it_and_runs_nothing(hooked: Hooked) -> None:
    done = hooked.clients.call(check_mode=True)
    assert f"{hooked.user.name}/app: after_change: command sh" in done["changes"]
    hooked.clients.converge()
    done = hooked.clients.call(check_mode=True, roots=AUTHORITIES["server"].root.pem + OTHER.root.pem)
    assert f"{hooked.user.name}/report: after_change: command sh" in done["changes"]
    assert hooked.clients.call(check_mode=True)["changes"] == []
    assert len(hooked.lines()) == 1


def test_only_identities_whose_files_change_run_theirs(hooked: Hooked) -> None:
    other = hooked.log.with_name("other.log")
    hooked.identities[1]["after_change"] = {"command": ["sh", "-c", f"echo report >> {other}"]}
    hooked.clients.converge()
    assert (len(hooked.lines()), other.read_text()) == (1, "report\n")
    hooked.clients.converge(identities=[hooked.identities[0], {**hooked.identities[1], "formats": ["bundle"]}])
    assert (len(hooked.lines()), other.read_text()) == (1, "report\nreport\n")
    hooked.clients.converge(roots=AUTHORITIES["server"].root.pem + OTHER.root.pem)
    assert len(hooked.lines()) == 2, "the roots are everybody's"


@pytest.mark.parametrize("change", [{"new_keys": True}, {"renew": True}, {"key_type": "P-384"}])
def test_it_runs_after_each_renewal(hooked: Hooked, change: dict[str, Any]) -> None:
    hooked.clients.converge()
    hooked.clients.converge(**change)
    assert len(hooked.lines()) == 2


def test_it_runs_after_a_roll_back(hooked: Hooked) -> None:
    hooked.clients.converge()
    hooked.clients.converge(new_keys=True)
    done = hooked.clients.roll_back(check_mode=True)
    assert f"{hooked.user.name}/app: after_change: command sh" in done["changes"]
    assert len(hooked.lines()) == 2
    hooked.clients.roll_back()
    assert len(hooked.lines()) == 3
    assert not (hooked.user.store / "current" / after_change.MARK).exists()


def test_what_root_runs_may_be_where_its_os_user_cannot_look(hooked: Hooked, tmp_path: Path) -> None:
    script = tmp_path / "hook"  # in a directory of root alone
    script.write_text(f"#!/bin/sh\nid -un >> {hooked.log}\n")
    script.chmod(0o755)
    tmp_path.chmod(0o700)
    with pytest.raises(TlsError, match=f"The command {script} was not found"):
        hooked.clients.call(identities=hooked.with_hook(str(script)))
    hooked.clients.converge(identities=hooked.with_hook(str(script), as_root=True))
    assert hooked.lines() == ["root"]


def test_two_os_users_run_a_command_each_and_one_of_root_once(hooked: Hooked, bob: User) -> None:
    hooked.log.chmod(0o666)
    of_bob = {**identity(bob, "app"), "after_change": {"command": ["sh", "-c", f"id -un >> {hooked.log}"]}}
    of_alice = {**identity(hooked.user, "app"), "after_change": of_bob["after_change"]}
    hooked.clients.converge(identities=[of_alice, of_bob])
    assert hooked.lines() == [hooked.user.name, bob.name]
    for one in (of_alice, of_bob):
        one["after_change"] = {**one["after_change"], "as_root": True}
    hooked.clients.converge(identities=[of_alice, of_bob], new_keys=True)
    assert hooked.lines() == [hooked.user.name, bob.name, "root"]


def test_one_of_root_runs_once_at_a_first_set_up_after_the_files_of_all_os_users(hooked: Hooked, bob: User) -> None:
    """The files of alice are complete in the first call, those of bob come with a certificate."""
    seen = f"ls {hooked.user.default}/root.crt {bob.default}/root.crt | wc -l >> {hooked.log}"
    hook = {"after_change": {"command": ["sh", "-c", seen], "as_root": True}}
    own = [{**identity(hooked.user, "app"), "login": "password", **hook}, {**identity(bob, "app"), **hook}]
    hooked.clients.converge(identities=own)
    assert hooked.lines() == ["2"]
    assert hooked.clients.call(identities=own)["changed"] is False


# Certificates of others that come, or do not


@pytest.fixture
def beside(hooked: Hooked, bob: User) -> list[dict[str, Any]]:
    """Return identities: app of alice with a hook, and report of bob without one."""
    return [hooked.identities[0], identity(bob, "report")]


def test_a_failing_one_does_not_stop_the_renewal_of_another_os_user(
    hooked: Hooked, bob: User, beside: list[dict[str, Any]]
) -> None:
    own = [{**hooked.with_hook(program)[0], "login": "password"} for program in ("true", "false")]
    with pytest.raises(TlsError, match="status 1"):
        hooked.clients.converge(identities=[own[1], beside[1]])
    due = {"identities": [own[1], beside[1]], "now": TODAY + 80 * DAY}
    asked = hooked.clients.call(**due)
    assert [one["id"] for one in asked["requests"]] == [f"{bob.name}/report"]
    before = used(bob)
    with pytest.raises(TlsError, match=r"^after_change: command false failed: it ended with status 1") as error:
        hooked.clients.call(**due, certificates=chains(asked))
    assert used(bob) != before
    assert error.value.details["changes"] == [f"{bob.name}/report: new certificate (expires_in_9d)"]
    done = hooked.clients.call(identities=[own[0], beside[1]])
    assert done["changes"] == [f"{hooked.user.name}/app: after_change: command true succeeded"]


def test_what_has_changed_before_others_get_their_certificates_runs_its_own_with_the_answer(
    hooked: Hooked, bob: User, beside: list[dict[str, Any]]
) -> None:
    hooked.clients.converge(identities=beside[:1])
    changed = {"identities": beside, "roots": AUTHORITIES["server"].root.pem + OTHER.root.pem}
    asked = hooked.clients.call(**changed)
    assert [one["id"] for one in asked["requests"]] == [f"{bob.name}/report"]
    assert len(hooked.lines()) == 1
    assert (hooked.user.store / "current" / after_change.MARK).exists()
    done = hooked.clients.call(**changed, certificates={f"{bob.name}/report": ""})
    assert done["changes"] == [f"{hooked.user.name}/app: after_change: command sh succeeded"]
    assert len(hooked.lines()) == 2
    assert not hooked.clients.call(**changed, certificates={f"{bob.name}/report": ""})["changed"]


# Failures


def test_a_failure_fails_the_call_leaves_the_new_files_and_is_tried_again(hooked: Hooked) -> None:
    hooked.clients.converge()
    before = used(hooked.user)
    gate = hooked.log.with_name("gate")
    script = f"echo ran >> {hooked.log}; test -e {gate} || {{ echo no gate; exit 3; }}"
    own = hooked.with_hook("sh", "-c", script)
    with pytest.raises(TlsError, match=r"after_change: command sh failed: it ended with status 3. It printed: no gate"):
        hooked.clients.converge(identities=own, new_keys=True)
    after = used(hooked.user)
    assert {path for path in after if after[path] != before.get(path)} >= {str(hooked.user.default / "postgresql.key")}
    with pytest.raises(TlsError, match="The new files stay") as error:
        hooked.clients.call(identities=own)
    assert error.value.details["changed"] is True
    foreseen = hooked.clients.call(identities=own, check_mode=True)
    assert foreseen["changes"] == [f"{hooked.user.name}/{role}: after_change: command sh" for role in ("app", "report")]
    gate.touch()
    done = hooked.clients.call(identities=own)
    assert (done["changed"], done["changes"]) == (True, [f"{hooked.user.name}/app: after_change: command sh succeeded"])
    assert hooked.clients.call(identities=own)["changed"] is False
    assert hooked.lines().count("ran") == 3


def test_a_failed_one_is_run_with_the_next_change_even_of_another_identity(hooked: Hooked) -> None:
    hooked.identities[1].pop("after_change")
    with pytest.raises(TlsError, match="status 1"):
        hooked.clients.converge(identities=[hooked.with_hook("false")[0], hooked.identities[1]])
    hooked.clients.call(identities=[hooked.identities[0], {**hooked.identities[1], "formats": ["bundle"]}])
    assert hooked.lines() == [hooked.user.name]


def test_a_run_that_is_killed_in_a_hook_has_not_forgotten_it(hooked: Hooked) -> None:
    asked = chains(hooked.clients.call())
    child = os.fork()
    if child == 0:
        try:
            killing = hooked.with_hook("sh", "-c", "kill -9 $PPID", as_root=True)
            hooked.clients.call(certificates=asked, identities=killing)
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert hooked.lines() == []
    assert hooked.clients.call()["changed"]
    assert hooked.lines() == [hooked.user.name]
    assert hooked.clients.call()["changed"] is False


def test_one_that_hangs_is_stopped_with_its_children(hooked: Hooked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(after_change, "TIMEOUT", 0.5)
    own = hooked.with_hook("sh", "-c", f"echo begun; sleep 47 & echo $! > {hooked.log}; wait")
    with pytest.raises(TlsError, match=r"it did not end within 0 s and was stopped. It printed: begun"):
        hooked.clients.converge(identities=own)
    [pid] = hooked.lines()
    assert ends(int(pid))


def test_what_it_starts_in_the_background_stays_and_nobody_waits_for_it(hooked: Hooked) -> None:
    begun = time.monotonic()
    hooked.clients.converge(identities=hooked.with_hook("sh", "-c", f"sleep 31 & echo $! > {hooked.log}"))
    assert time.monotonic() - begun < 20
    [pid] = hooked.lines()
    assert is_running(int(pid))
    os.kill(int(pid), signal.SIGTERM)


def test_nothing_secret_of_its_output_is_shown(hooked: Hooked, alice: User) -> None:
    script = f"cat {alice.store}/current/app/postgresql.key; echo password=hunter2 postgres://me:hunter2@db1/x; exit 1"
    with pytest.raises(TlsError) as error:
        hooked.clients.converge(identities=hooked.with_hook("sh", "-c", script, "hunter2"))
    said = str(error.value.as_result())
    assert "It printed: a private key" in said
    assert "postgres://me:********@db1/x" in said
    assert "hunter2" not in said
    key = (alice.store / "current/app/postgresql.key").read_text().splitlines()[1]
    assert key not in said


def test_a_long_output_is_cut(hooked: Hooked) -> None:
    with pytest.raises(TlsError, match=r"It printed: \.\.\.") as error:
        hooked.clients.converge(identities=hooked.with_hook("sh", "-c", "seq 99999; exit 1"))
    assert "99999" in error.value.message
    assert len(error.value.message) < 2000


@pytest.mark.parametrize("mark", ["garbage", "7", '{"app": 1}', '["app", "root", 7]'])
def test_the_mark_of_an_os_user_means_nothing_but_its_own_hooks(hooked: Hooked, mark: str) -> None:
    """It is a file of theirs: garbage in it runs what is declared for them once more, and nothing else."""
    hooked.clients.converge()
    hooked.user.write(".postgresql/pgops/current/" + after_change.MARK, mark)
    assert hooked.clients.call()["changed"]
    assert hooked.clients.call()["changed"] is False
    assert hooked.lines() == [hooked.user.name] * 2


# Units of systemd


WITH_SYSTEMD = pytest.mark.skipif(not Path("/run/systemd/system").exists(), reason="systemd does not run here")
UNITS = Path("/run/systemd/system")


class Unit:
    """A unit of systemd that ends as soon as a file is missing. It notes how often it was started and reloaded."""

    def __init__(self, folder: Path, *, can_reload: bool = True) -> None:
        self.name, self.log, self.gate = "pgops-test-hook.service", folder / "unit.log", folder / "unit.gate"
        self.gate.touch()
        reload = f"ExecReload=/bin/sh -c 'echo reloaded >> {self.log}'\n" if can_reload else ""
        start = f"echo started >> {self.log}; test -e {self.gate} || {{ echo no gate; exit 1; }}; exec sleep 600"
        (UNITS / self.name).write_text(f"[Service]\nExecStart=/bin/sh -c '{start}'\n{reload}")
        self.systemctl("daemon-reload")

    def systemctl(self, *argv: str) -> str:
        return subprocess.run(["systemctl", *argv], check=False, capture_output=True, text=True).stdout.strip()

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def remove(self) -> None:
        self.systemctl("stop", self.name)
        (UNITS / self.name).unlink()
        self.systemctl("daemon-reload")
        self.systemctl("reset-failed")


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Unit]:
    made = Unit(tmp_path)
    try:
        yield made
    finally:
        made.remove()


def by_unit(hooked: Hooked, unit: Unit, action: str = "restart") -> list[dict[str, Any]]:
    return [{**one, "after_change": {"unit": unit.name, "action": action}} for one in hooked.identities]


@WITH_SYSTEMD
@pytest.mark.parametrize(("action", "after"), [("restart", "started"), ("reload", "reloaded")])
def test_a_unit_that_runs_is_restarted_or_reloaded_once(hooked: Hooked, unit: Unit, action: str, after: str) -> None:
    unit.systemctl("start", unit.name)
    done = hooked.clients.converge(identities=by_unit(hooked, unit, action))
    assert done["changes"][-1] == f"{hooked.user.name}/app: after_change: {action} of {unit.name} succeeded"
    assert unit.lines() == ["started", after]
    assert hooked.clients.call(identities=by_unit(hooked, unit, action))["changed"] is False


@WITH_SYSTEMD
def test_a_unit_that_was_stopped_is_left_as_it_is(hooked: Hooked, unit: Unit) -> None:
    done = hooked.clients.converge(identities=by_unit(hooked, unit))
    assert "does not run, so it reads the files when it starts" in done["changes"][-1]
    assert (unit.lines(), unit.systemctl("is-active", unit.name)) == ([], "inactive")


@WITH_SYSTEMD
@pytest.mark.parametrize("action", ["restart", "reload"])
def test_a_unit_that_does_not_run_with_the_new_files_is_a_failure_until_it_does(
    hooked: Hooked, unit: Unit, action: str
) -> None:
    unit.systemctl("start", unit.name)
    unit.gate.unlink()
    with pytest.raises(TlsError, match=r"the unit is failed \(failed\) after it.*The new files stay"):
        hooked.clients.converge(identities=by_unit(hooked, unit))
    with pytest.raises(TlsError, match="the unit is failed"):
        hooked.clients.call(identities=by_unit(hooked, unit, action))
    unit.gate.touch()
    done = hooked.clients.call(identities=by_unit(hooked, unit, action))
    assert done["changes"] == [f"{hooked.user.name}/app: after_change: restart of {unit.name} succeeded"]
    assert unit.systemctl("is-active", unit.name) == "active"
    assert hooked.clients.call(identities=by_unit(hooked, unit, action))["changed"] is False


@WITH_SYSTEMD
def test_units_that_cannot_do_it_are_an_error_before_the_switch(hooked: Hooked, tmp_path: Path) -> None:
    unit = Unit(tmp_path, can_reload=False)
    try:
        for action, name, message in (
            ("restart", "pgops-no-such", "systemd cannot use the unit pgops-no-such: it is not-found"),
            ("reload", unit.name, f"the unit {unit.name} cannot be reloaded. Nothing was changed. Set action to rest"),
        ):
            own = [{**one, "after_change": {"unit": name, "action": action}} for one in hooked.identities]
            with pytest.raises(TlsError, match=message):
                hooked.clients.call(identities=own)
            with pytest.raises(TlsError, match=message):
                hooked.clients.call(identities=own, check_mode=True)
        assert not (hooked.user.store / "current").exists()
    finally:
        unit.remove()


# What cannot run


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        ({}, "found a dictionary with nothing, expected one with either unit or command"),
        ("reload", "found a value of type str, expected one with"),
        ({"unit": "a", "command": ["b"]}, "found a dictionary with 'unit' and 'command', expected"),
    ],
)
def test_one_that_makes_no_sense_is_refused_before_anything_changes(hooked: Hooked, hook: Any, message: str) -> None:
    before = snapshot(hooked.user.home)
    with pytest.raises(TlsError, match=rf"identities\[1\]\.after_change.*{message}"):
        hooked.clients.call(identities=[hooked.identities[0], {**hooked.identities[1], "after_change": hook}])
    assert snapshot(hooked.user.home) == before


def test_a_program_that_is_missing_is_an_error_before_the_switch(hooked: Hooked) -> None:
    hooked.clients.converge()
    before = used(hooked.user)
    with pytest.raises(TlsError, match="The command no-such-program was not found on this host; it is needed by after"):
        hooked.clients.call(identities=hooked.with_hook("no-such-program"), new_keys=True)
    assert used(hooked.user) == before
    assert hooked.clients.call(identities=hooked.with_hook("no-such-program"))["changed"] is False


@pytest.mark.skipif(Path("/run/systemd/system").exists(), reason="systemd runs here")
def test_where_no_systemd_runs_a_unit_is_an_error_before_the_switch(hooked: Hooked) -> None:
    own = [{**one, "after_change": {"unit": "postgresql"}} for one in hooked.identities]
    with pytest.raises(
        TlsError, match=r"systemd did not answer about the unit postgresql: .*Use command where systemd"
    ):
        hooked.clients.call(identities=own)
    assert not (hooked.user.store / "current").exists()


def test_without_root_what_takes_root_is_refused(alice: User) -> None:
    child = os.fork()
    if child == 0:
        refused = 0
        try:
            os.setuid(alice.uid)
            after_change.refuse_unfit([after_change.Hook(command=("true",))])
            for hook in (after_change.Hook(command=("true",), as_root=True), after_change.Hook("x", "reload")):
                try:
                    after_change.refuse_unfit([hook])
                except TlsError as error:
                    refused += error.code == "after_change_takes_root"
        finally:
            os._exit(refused)
    assert os.WEXITSTATUS(os.waitpid(child, 0)[1]) == 2
