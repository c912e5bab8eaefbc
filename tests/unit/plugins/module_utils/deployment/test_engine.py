# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine with a kind of its own: a lamp that shows the text of its generation after a reload, on real files."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.authority import issuing
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, UnreachableError
from ansible_collections.pgops.tls.plugins.module_utils.core.files import Owner
from ansible_collections.pgops.tls.plugins.module_utils.core.generations import File, GenerationStore
from ansible_collections.pgops.tls.plugins.module_utils.core.journal import Journal
from ansible_collections.pgops.tls.plugins.module_utils.credential.spec import Spec
from ansible_collections.pgops.tls.plugins.module_utils.deployment import roll_back, service
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import SERVER_AUTH
from ansible_collections.pgops.tls.tests import faults
from ansible_collections.pgops.tls.tests.shared import NOW

TEXT = "text"
UNDONE = "recovery: the transaction of an interrupted run is undone"
CERTIFICATES = {text: issuing.new_authority("server", "P-256", NOW).root for text in ("red", "green")}
ASIDE = "recovery: the damaged journal of an interrupted run is set aside"


class Found(NamedTuple):
    """What is in the generation in use."""

    generation: dict[str, bytes]


class Plan(NamedTuple):
    """What is to be done."""

    contents: dict[str, bytes] | None
    changes: list[str]
    left: str = ""


class Outcome(NamedTuple):
    """What was done."""

    done: service.Done
    notes: list[str]


class Lamp:
    """The program: what it shows is in a file, and its configuration beside the generations in another one."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.shown, self.config = home / "shown", home / "config"
        self.store = GenerationStore(str(home / "tls"), Owner(os.getuid(), os.getgid()))
        self.config.write_text("plain")
        self.reload()

    def reload(self) -> None:
        text = self.store.read(self.store.current(), TEXT)
        self.shown.write_bytes(b"dark" if text is None else text)

    def state(self) -> tuple[Any, ...]:
        """Return what matters: all files of the collection, the configuration, and what is shown."""
        found = faults.everything(Path(self.store.directory)) if Path(self.store.directory).exists() else {}
        return found, self.config.read_text(), self.shown.read_text()


class Kind(service.Service[Plan, Found, Outcome]):
    """Bring a lamp to a text. ``fails`` names the step that is to fail, ``dies`` one at which the process is killed."""

    modes = MappingProxyType({TEXT: 0o644})
    program = "the lamp"
    consistent = "The lamp is consistent nevertheless."

    def __init__(
        self,
        lamp: Lamp,
        text: str,
        *,
        fails: str = "",
        dies: str = "",
        has_certificate: bool = True,
        now: int = 0,
    ) -> None:
        super().__init__(lamp.store, now)
        self.lamp, self.text, self.fails, self.dies = lamp, text, fails, dies
        self.has_certificate = has_certificate
        self.before = lamp.shown.read_bytes()
        self.tell = lamp.reload
        self.steps: list[str] = []

    def step(self, name: str) -> None:
        self.steps.append(name)
        if name == self.fails:
            raise TlsError(f"{name} failed.", code="test_failed", lamp_log=["dark"])
        if name == self.dies:
            raise KeyboardInterrupt

    def _found(self) -> Found:
        self.step("found")
        in_use = self.journal.originals()[0] if self._is_open() else self.store.current()
        text = self.store.read(in_use, TEXT)
        return Found({} if text is None else {TEXT: text})

    def _plan(self, found: Found) -> Plan:
        self.step("plan")
        coming = {TEXT: self.text.encode()}
        return Plan(None, []) if found.generation == coming else Plan(coming, [f"text: {self.text}"])

    def _refuse(self, _plan: Plan, _found: Found, *, check_mode: bool) -> None:  # noqa: ARG002
        self.step("refuse")

    def _waiting(self, plan: Plan) -> list[str]:
        return ["lamp"] if plan.changes and not self.has_certificate else []

    def _request(self, name: str, _plan: Plan, _found: Found) -> str:
        self.step("request")
        self.store.keep_pending_key(name, "key")
        return "request"

    def _contents(self, plan: Plan, _found: Found) -> dict[str, File]:
        self.step("contents")
        return {name: File(content, self.modes[name]) for name, content in (plan.contents or {}).items()}

    def _rehearse(self, generation: str) -> None:
        self.step("rehearse")
        assert self.lamp.store.read(generation, TEXT) != self.before

    def _change(self, _plan: Plan, _found: Found, leaves: Mapping[str, Any]) -> None:
        self.step("begun")
        self.journal.switch()
        self.step("switched")
        self.journal.put_file(str(self.lamp.config), b"shows " + leaves[TEXT])
        self.step("written")
        self.lamp.reload()
        assert self.lamp.shown.read_bytes() == leaves[TEXT]
        self.step("proven")

    def prove_previous(self) -> None:
        self.step("previous")
        if self.lamp.shown.read_bytes() != self.before:
            raise TlsError("It shows another text.", code="test_failed")

    def settle(self) -> None:
        self.step("settle")
        self.lamp.reload()
        self.before = self.lamp.shown.read_bytes()

    def half(self) -> list[str]:
        text = self.store.read(self.store.current(), TEXT)
        return [] if self.lamp.shown.read_bytes() == text else ["the lamp shows another text than the one on disk"]

    def _specs(self) -> dict[str, Any]:
        return {}

    def _later(self) -> list[str]:
        return []

    def _renew(self, names: Any) -> None:
        assert not names

    def _keys_in_use(self) -> dict[str, bytes | None]:
        self.step("tidy")
        return {"lamp": b"key"}

    def _leaves(self, generation: Any) -> dict[str, Any]:
        return dict(generation)

    def _outcome(self, _plan: Plan, _found: Found, done: service.Done) -> Outcome:
        return Outcome(done, self.notes)


class Back(roll_back.RollBack[Plan, Found, Outcome], Kind):
    """Roll a lamp back. The declared text is what the next run would bring again."""

    stays = Plan(None, [])

    def _plan_back(self, found: Found, in_use: str, name: str) -> Plan:
        contents = self._contents_of(name, list(self.modes))
        roll_back.refuse_same([file for file in contents if contents[file] != found.generation.get(file)], in_use)
        return Plan(contents, ["text: back"])

    def _next(self, generation: Any, _found: Found) -> list[str]:
        return [] if generation == {TEXT: self.text.encode()} else [f"text: {self.text}"]


class Renewed(Kind):
    """A lamp with a certificate, which an order renews; the next one of a lamp that waits comes in a later run."""

    def __init__(self, lamp: Lamp, text: str, *, forced: bool = False, comes_later: bool = False, now: int = 0) -> None:
        super().__init__(lamp, text, has_certificate=not comes_later, now=now)
        self.spec = Spec(None, (), "P-256", SERVER_AUTH, [CERTIFICATES["red"]], forced=forced)
        self.comes_later = comes_later
        self.renewed: set[str] = set()

    def _specs(self) -> dict[str, Any]:
        return {"lamp": self.spec}

    def _later(self) -> list[str]:
        return ["lamp"] if self.comes_later else []

    def _renew(self, names: Any) -> None:
        self.renewed = set(names)

    def _waiting(self, _plan: Plan) -> list[str]:
        return []

    def _leaves(self, generation: Any) -> dict[str, Any]:
        text = generation.get(TEXT, b"").decode()
        return {**super()._leaves(generation), **({"lamp": CERTIFICATES[text]} if text else {})}


@pytest.fixture
def lamp(tmp_path: Path) -> Lamp:
    """Give a lamp without a generation."""
    return Lamp(tmp_path)


@pytest.fixture
def red(lamp: Lamp) -> Lamp:
    """Give a lamp that shows red."""
    Kind(lamp, "red").run(check_mode=False)
    return lamp


@pytest.fixture
def interrupted(red: Lamp) -> Iterator[Lamp]:
    """Give a lamp whose change to green was killed before its commit."""
    with pytest.raises(KeyboardInterrupt):
        Kind(red, "green", dies="proven").run(check_mode=False)
    assert red.shown.read_text() == "green"
    return red


def test_a_change_goes_step_by_step(lamp: Lamp) -> None:
    kind = Kind(lamp, "red")
    done = kind.run(check_mode=False).done
    assert kind.steps == [
        *("found", "plan", "refuse", "contents", "rehearse", "begun", "switched", "written", "proven", "tidy")
    ]
    assert done == service.Done(["text: red"], {}, {}, {TEXT: b"red"}, None)
    assert (lamp.shown.read_text(), lamp.config.read_text()) == ("red", "shows red")
    assert not Path(lamp.store.journal).exists()


def test_a_run_that_changes_nothing_writes_nothing(red: Lamp) -> None:
    before, kind = red.state(), Kind(red, "red")
    assert kind.run(check_mode=False).done.changes == []
    assert kind.steps == ["found", "plan", "refuse", "tidy"]
    assert red.state() == before


def test_check_mode_foresees_and_writes_nothing(red: Lamp) -> None:
    before, kind = red.state(), Kind(red, "green")
    assert kind.run(check_mode=True).done == service.Done(["text: green"], {}, {TEXT: b"red"}, {TEXT: b"red"}, None)
    assert kind.steps == ["found", "plan", "refuse"]
    assert red.state() == before


@pytest.mark.parametrize("fails", ["found", "plan", "refuse", "contents", "rehearse"])
def test_a_failure_before_the_change_touches_nothing(red: Lamp, fails: str) -> None:
    before = red.state()
    with pytest.raises(TlsError, match=rf"^{fails} failed\.$") as failure:
        Kind(red, "green", fails=fails).run(check_mode=False)
    assert red.state() == before
    assert failure.value.details == {"lamp_log": ["dark"]}


@pytest.mark.parametrize("fails", ["begun", "switched", "written", "proven"])
def test_a_failure_within_the_change_restores_and_proves_the_state_before(red: Lamp, fails: str) -> None:
    before, kind = red.state(), Kind(red, "green", fails=fails)
    with pytest.raises(TlsError, match=rf"^{fails} failed\. The previous state is restored and proven\.$") as failure:
        kind.run(check_mode=False)
    assert red.state() == before
    assert kind.steps[-2:] == [fails, "previous"]
    assert failure.value.as_result()["code"] == "test_failed"
    assert failure.value.details == {"lamp_log": ["dark"], "rolled_back": True}


@pytest.mark.parametrize("method", ["begin", "switch", "put_file", "commit"])
def test_a_fault_of_the_journal_restores_the_state_before(
    red: Lamp, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    before = red.state()

    monkeypatch.setattr(Journal, method, _full)
    with pytest.raises(TlsError, match=r"No space left.*The previous state is restored") as failure:
        Kind(red, "green").run(check_mode=False)
    assert red.state() == before
    assert failure.value.code == "system_error"


def test_nothing_that_can_fail_follows_the_commit(red: Lamp, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Journal.commit

    def last(journal: Journal) -> None:
        whole(journal)
        monkeypatch.setattr(GenerationStore, "read", _gone)
        monkeypatch.setattr(GenerationStore, "prune", _full)

    monkeypatch.setattr(Journal, "commit", last)
    assert Kind(red, "green").run(check_mode=False).done.after == {TEXT: b"green"}


def test_a_restored_state_that_is_not_proven_is_told(red: Lamp) -> None:
    kind = Kind(red, "green", fails="proven")
    kind.tell = None  # it does not hear of the roll-back
    with pytest.raises(TlsError, match=r"the lamp could NOT be proven to use them: It shows another text\.") as failure:
        kind.run(check_mode=False)
    assert failure.value.details["rolled_back"] is False
    assert (red.store.current(), red.config.read_text()) == ("0001", "shows red")


def test_a_state_that_is_not_restored_is_told_and_the_next_run_restores_it(
    red: Lamp, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = red.state()
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_restore", _gone)
        with pytest.raises(TlsError, match=r"could NOT be restored completely: The disk is gone\.") as failure:
            Kind(red, "green", fails="proven").run(check_mode=False)
    assert failure.value.details["rolled_back"] is False
    assert Kind(red, "red").run(check_mode=False).done.changes == [UNDONE]
    assert red.state() == before


def test_what_an_interrupted_run_left_is_undone_first(interrupted: Lamp) -> None:
    kind = Kind(interrupted, "blue")
    assert kind.run(check_mode=False).done.changes == [UNDONE, "text: blue"]
    assert kind.steps[:2] == ["settle", "found"]
    assert kind.before == b"red"
    assert interrupted.shown.read_text() == "blue"
    assert interrupted.store.names() == ["0001", "0002"], "without the one of the interrupted run"


def test_check_mode_sees_through_what_an_interrupted_run_left(interrupted: Lamp) -> None:
    before = interrupted.state()
    assert Kind(interrupted, "red").run(check_mode=True).done.changes == [UNDONE]
    assert Kind(interrupted, "green").run(check_mode=True).done.changes == [UNDONE, "text: green"]
    assert interrupted.state() == before


def test_an_error_after_a_recovery_tells_of_it(interrupted: Lamp) -> None:
    with pytest.raises(TlsError, match=r"^plan failed\. Before that, the transaction .* was undone\.$") as failure:
        Kind(interrupted, "blue", fails="plan").run(check_mode=False)
    assert failure.value.details == {"lamp_log": ["dark"], "changed": True}
    assert (interrupted.shown.read_text(), interrupted.store.current()) == ("red", "0001")


def test_a_recovery_that_dies_is_done_by_the_next_run(interrupted: Lamp) -> None:
    with pytest.raises(KeyboardInterrupt):
        Kind(interrupted, "red", dies="settle").run(check_mode=False)
    assert Kind(interrupted, "red").run(check_mode=False).done.changes == []
    assert (interrupted.shown.read_text(), interrupted.store.names()) == ("red", ["0001"])


def test_a_damaged_journal_is_set_aside_where_nothing_is_half_done(red: Lamp) -> None:
    Path(red.store.journal).write_text("nonsense")
    foreseen = Kind(red, "red").run(check_mode=True)
    assert Path(red.store.journal).read_text() == "nonsense"
    done = Kind(red, "red").run(check_mode=False)
    assert foreseen.done.changes == done.done.changes == [ASIDE]
    assert foreseen.notes[0].startswith(f"{red.store.journal}: expected the journal of an interrupted run, found ")
    aside = f"{red.store.journal}.damaged"
    assert done.notes == [foreseen.notes[0].replace("is set aside.", f"is set aside as {aside}.")]
    assert Path(aside).read_text() == "nonsense"
    assert Kind(red, "red").run(check_mode=False) == Outcome(done.done._replace(changes=[]), [])


@pytest.mark.parametrize("check_mode", [True, False])
def test_a_damaged_journal_stops_the_run_where_something_is_half_done(red: Lamp, check_mode: bool) -> None:
    Path(red.store.journal).write_text("nonsense")
    red.shown.write_text("green")
    before = red.state()
    with pytest.raises(TlsError, match=r"the lamp shows another text.*Nothing was changed\..*run: mv ") as failure:
        Kind(red, "red").run(check_mode=check_mode)
    assert failure.value.code == "journal_damaged"
    assert red.state() == before


def test_a_run_without_its_certificate_asks_and_changes_nothing_live(red: Lamp) -> None:
    before = red.state()
    foreseen = Kind(red, "green", has_certificate=False).run(check_mode=True)
    assert (foreseen.done.requests, red.state()) == ({"lamp": ""}, before)
    asked = Kind(red, "green", has_certificate=False)
    assert asked.run(check_mode=False).done.requests == {"lamp": "request"}
    assert asked.steps == ["found", "plan", "refuse", "request"]
    assert red.shown.read_text() == "red"
    assert Path(red.store.pending_key("lamp")).exists()
    Kind(red, "green").run(check_mode=False)
    assert not Path(red.store.pending_key("lamp")).exists(), "a generation holds it"


def test_a_roll_back_leads_to_the_generation_before_once(red: Lamp) -> None:
    Kind(red, "green").run(check_mode=False)
    there = ["generation: from 0002 back to the files of 0001", "text: back"]
    assert Back(red, "green").run(check_mode=True).done.changes == there
    done = Back(red, "green").run(check_mode=False).done
    assert (done.changes, done.next_run) == (there, ["text: green"])
    assert (red.shown.read_text(), red.store.current()) == ("red", "0003")
    before = red.state()
    assert Back(red, "green").run(check_mode=False).done.changes == []
    assert red.state() == before


@pytest.mark.parametrize("is_back", [True, False])
def test_a_key_that_has_waited_for_days_outlives_a_roll_back_and_no_run_that_finds_nothing_due(
    red: Lamp, *, is_back: bool
) -> None:
    Kind(red, "green").run(check_mode=False)
    red.store.keep_pending_key("lamp", "another key")
    (Back if is_back else Kind)(red, "green", now=3 * 86400 + int(time.time())).run(check_mode=False)
    assert Path(red.store.pending_key("lamp")).exists() is is_back
    assert red.shown.read_text() == ("red" if is_back else "green")


def test_a_renewal_that_comes_later_is_remembered_with_its_key_until_another_certificate_is_there(red: Lamp) -> None:
    red.store.keep_pending_key("lamp", "another key")
    later = 3 * 86400 + int(time.time())
    check = Renewed(red, "red", forced=True, comes_later=True)
    check.run(check_mode=True)
    assert red.store.wishes() == [], "check mode writes nothing"
    Renewed(red, "red", forced=True, comes_later=True, now=later).run(check_mode=False)
    for check_mode in (True, False):
        night = Renewed(red, "red", now=later)
        night.run(check_mode=check_mode)
        assert night.renewed == {"lamp"}
        assert sorted(os.listdir(red.store.pending)) == ["lamp.key", "lamp.renew"]
    for _run in range(2):
        Renewed(red, "green", now=later).run(check_mode=False)
        assert os.listdir(red.store.pending) == []
    after = Renewed(red, "green", now=later)
    after.run(check_mode=False)
    assert after.renewed == set()


@pytest.mark.parametrize(("forced", "comes_later"), [(True, False), (False, True), (False, False)])
def test_nothing_else_is_remembered(red: Lamp, *, forced: bool, comes_later: bool) -> None:
    Renewed(red, "red", forced=forced, comes_later=comes_later).run(check_mode=False)
    assert red.store.wishes() == []


def test_undoing_an_interrupted_run_counts_as_the_roll_back(interrupted: Lamp) -> None:
    assert Back(interrupted, "green").run(check_mode=True).done.changes == [UNDONE]
    assert Back(interrupted, "green").run(check_mode=False).done.changes == [UNDONE]
    assert (interrupted.shown.read_text(), interrupted.store.current()) == ("red", "0001")


def test_an_interrupted_roll_back_is_undone_and_done_again(red: Lamp) -> None:
    Kind(red, "green").run(check_mode=False)
    with pytest.raises(KeyboardInterrupt):
        Back(red, "green", dies="proven").run(check_mode=False)
    assert Back(red, "green").run(check_mode=False).done.changes[0] == UNDONE
    assert red.shown.read_text() == "red"


def test_a_roll_back_without_a_generation_before_is_refused(red: Lamp) -> None:
    before = red.state()
    with pytest.raises(TlsError, match="there is no generation before 0001, so a roll-back is impossible") as failure:
        Back(red, "red").run(check_mode=False)
    assert (failure.value.code, red.state()) == ("previous_generation_missing", before)


@pytest.mark.parametrize("is_undone", [True, False])
def test_a_program_that_cannot_be_reached_is_told_with_what_was_undone(is_undone: bool) -> None:
    with pytest.raises(TlsError) as failure, service.explained("/tls", "the lamp", lambda: is_undone):
        raise UnreachableError("It is off.", code="lamp_off")
    assert failure.value.code == "lamp_off"
    assert failure.value.details == ({"changed": True} if is_undone else {})
    assert ("they were undone. Start the lamp, then rerun." in failure.value.message) is is_undone


def test_an_error_of_the_system_names_a_path() -> None:
    fault = r"^/tls: No space left on device\. Nothing was changed\."
    with pytest.raises(TlsError, match=fault), service.explained("/tls", "the lamp", lambda: False):
        raise OSError(28, "No space left on device")


def _full(*_arguments: Any) -> None:
    raise OSError(28, "No space left on device", "journal.json")


def _gone(*_arguments: Any) -> None:
    raise TlsError("The disk is gone.", code="test_failed")
