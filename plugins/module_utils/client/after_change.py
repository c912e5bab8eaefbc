# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to run when the files of an identity have changed: a unit of systemd, or a command.

A program that is killed, or a hook that fails, must not be forgotten. So the generation itself says which identities
wait for theirs, from the switch on until it has succeeded.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
import time
from typing import IO, TYPE_CHECKING, Any, Collection, ContextManager, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core import files, processes
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError, shown
from ansible_collections.pgops.tls.plugins.module_utils.core.files import Owner
from ansible_collections.pgops.tls.plugins.module_utils.core.privileges import as_root
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account

if TYPE_CHECKING:
    from ansible_collections.pgops.tls.plugins.module_utils.client.identities import Identity

RELOAD, RESTART = "reload", "restart"
ACTIONS = (RELOAD, RESTART)
MARK = "after-change-due"  # in a generation: the names of the identities whose hooks have not succeeded yet
TIMEOUT = 120.0  # seconds; systemd gives a unit 90 to start
SETTLED = 1.0  # seconds after which a unit that cannot use its files is expected to have failed
_READ, _LONGEST = 65536, 1500  # bytes of an output that are read, and characters of it in a message
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]{0,254}")
_KEY = re.compile(r"-----BEGIN [^-]*PRIVATE KEY-----.*?(?:-----END [^-]*-----|\Z)", re.DOTALL)
_PASSWORD = re.compile(
    r"(?i)((?:password|passwd|passphrase|secret|token)[\"']?\s*[=:]\s*)\S+|(://[^\s:/@]*:)[^\s@]+(?=@)"
)
_KEYS = ("unit", "action", "command", "as_root")


class Hook(NamedTuple):
    """Reload or restart ``unit``, or run ``command``: as root, or as the OS user of the identity."""

    unit: str = ""
    action: str = ""
    command: tuple[str, ...] = ()
    as_root: bool = False

    def in_words(self) -> str:
        """Return what it does. The arguments of a command may be secret."""
        return f"{self.action} of {self.unit}" if self.unit else f"command {self.command[0]}"

    def runs_as(self, user: Account) -> Account | None:
        """Return the OS user who runs it for an identity of ``user``, None for root."""
        return None if self.unit or self.as_root else user


def parse(value: Any, source: str) -> Hook:
    """Return what is declared. Raises TlsError, naming ``source``."""
    given = {name: one for name, one in value.items() if one is not None} if isinstance(value, Mapping) else {}
    unknown = sorted(set(map(str, given)) - set(_KEYS))
    if unknown or not isinstance(value, Mapping) or ("unit" in given) == ("command" in given):
        raise TlsError(
            f"{source}: found {_keys(value)}, expected one with either unit or command.",
            remedy="Write {unit: NAME, action: restart}, or {command: [PROGRAM, ARGUMENT]}.",
            code="after_change_invalid",
        )
    alien = "as_root" if "unit" in given else "action"
    if given.get(alien):
        raise TlsError(
            f"{source}: found {alien} beside {'unit' if 'unit' in given else 'command'}, where it has no meaning.",
            remedy=f"Remove {alien}.",
            code="after_change_invalid",
        )
    if "unit" in given:
        return Hook(unit=_unit(given["unit"], source), action=_action(given.get("action", RESTART), source))
    return Hook(command=_command(given["command"], source), as_root=_is_root(given.get("as_root", False), source))


def _keys(value: Any) -> str:
    """Return what a value is, without what may be secret in it."""
    if isinstance(value, Mapping):
        return f"a dictionary with {' and '.join(map(shown, value)) or 'nothing'}"
    return f"a value of type {type(value).__name__}"


def _unit(value: Any, source: str) -> str:
    if not isinstance(value, str) or not _UNIT.fullmatch(value):
        raise TlsError(
            f"{source}.unit: found {shown(value)}, expected the name of a unit of systemd, such as "
            "prometheus-postgres-exporter.service.",
            code="after_change_unit_invalid",
        )
    return value


def _action(value: Any, source: str) -> str:
    if value not in ACTIONS:
        raise TlsError(
            f"{source}.action: found {shown(value)}, expected {' or '.join(ACTIONS)}.",
            code="after_change_action_unknown",
        )
    return str(value)


def _command(value: Any, source: str) -> tuple[str, ...]:
    is_list = isinstance(value, (list, tuple)) and bool(value)
    if not is_list or not all(isinstance(one, str) and "\0" not in one for one in value) or not value[0]:
        raise TlsError(
            f"{source}.command: expected a list of texts, the program first, and found something else.",
            remedy="Write one text for each argument, numbers in quotes. No shell reads them.",
            code="after_change_command_invalid",
        )
    return tuple(value)


def _is_root(value: Any, source: str) -> bool:
    if not isinstance(value, bool):
        raise TlsError(f"{source}.as_root: found {shown(value)}, expected true or false.", code="boolean_invalid")
    return value


def refuse_unfit(hooks: Collection[Hook]) -> None:
    """Raise TlsError for a hook that cannot run on this host, before anything changes."""
    is_root = 0 in (os.getuid(), os.geteuid())
    for hook in dict.fromkeys(hooks):
        if (hook.unit or hook.as_root) and not is_root:
            raise TlsError(
                f"after_change: {hook.in_words()} takes root, and this runs as user id {os.geteuid()}. Nothing was "
                "changed.",
                remedy="Use become: true.",
                code="after_change_takes_root",
            )
        if hook.unit:
            _refuse_unusable_unit(hook)
        else:
            with _as_root() if hook.as_root else contextlib.nullcontext():
                processes.find(hook.command[0], "by after_change")


def foreseen(identities: Sequence[Identity]) -> list[str]:
    """Return the hooks of identities in words. Raises TlsError for one that cannot run on this host."""
    hooks = {one.id: one.after_change for one in identities if one.after_change}
    refuse_unfit(hooks.values())
    return [f"{id_}: after_change: {hook.in_words()}" for id_, hook in hooks.items()]


def _as_root() -> ContextManager[None]:
    """Take root's rights back, in a process of root that acts as the OS user."""
    return as_root() if os.getuid() == 0 and os.geteuid() != 0 else contextlib.nullcontext()


def _refuse_unusable_unit(hook: Hook) -> None:
    state = _state(hook.unit)
    if state["LoadState"] != "loaded":
        raise TlsError(
            f"after_change: systemd cannot use the unit {hook.unit}: it is {state['LoadState']}. Nothing was changed.",
            remedy="Install the service, or correct unit (systemctl list-unit-files lists the names).",
            code="after_change_unit_unknown",
        )
    if hook.action == RELOAD and state["CanReload"] != "yes":
        raise TlsError(
            f"after_change: the unit {hook.unit} cannot be reloaded. Nothing was changed.",
            remedy="Set action to restart.",
            code="after_change_no_reload",
        )


def _state(unit: str) -> dict[str, str]:
    """Return what systemd knows of a unit. Raises TlsError if it does not answer."""
    names = ("LoadState", "ActiveState", "SubState", "CanReload", "NRestarts")
    command = [processes.find("systemctl", "by after_change"), "show", f"--property={','.join(names)}", "--", unit]
    with _as_root():
        done = processes.run(command)
    if done.status:
        raise TlsError(
            f"after_change: systemd did not answer about the unit {unit}: {masked(done.errors or done.output)}.",
            remedy="Use command where systemd does not run.",
            code="after_change_no_systemd",
        )
    found = dict(line.partition("=")[::2] for line in done.output.splitlines())
    return {name: found.get(name, "") for name in names}


def run(hook: Hook, user: Account) -> str:
    """Run it for an identity of ``user``; return what was done, in words. Raises TlsError if it fails."""
    if not hook.unit:
        _succeed(hook, hook.command, hook.runs_as(user))
        return f"{hook.in_words()} succeeded"
    before = _state(hook.unit)
    if before["ActiveState"] == "inactive":
        return f"{hook.unit} does not run, so it reads the files when it starts"
    action = RESTART if before["ActiveState"] == "failed" else hook.action  # a failed unit cannot be reloaded
    _succeed(hook, [processes.find("systemctl", "by after_change"), action, "--", hook.unit], None)
    time.sleep(SETTLED)
    after = _state(hook.unit)
    restarts = [
        int(one["NRestarts"] or 0) for one in (before, after)
    ]  # by systemd itself; a restart by hand sets it to 0
    has_ended = restarts[1] > (0 if action == RESTART else restarts[0]) or after["SubState"] == "auto-restart"
    if has_ended or after["ActiveState"] in ("failed", "inactive"):
        raise _failed(hook, f"the unit is {after['ActiveState']} ({after['SubState']}) after it", _log(hook.unit))
    return f"{action} of {hook.unit} succeeded"


def _log(unit: str) -> str:
    """Return the last lines that a unit has written, as far as they are known."""
    with contextlib.suppress(TlsError):
        return processes.run([processes.find("systemctl", "by after_change"), "status", "-n", "8", "--", unit]).output
    return ""


def _succeed(hook: Hook, argv: Sequence[str], user: Account | None) -> None:
    """Run a command to its end. What it leaves running does not count. Raises TlsError."""
    try:
        with tempfile.TemporaryFile() as output:  # no pipe: a service that it starts may keep it open
            fault = _ended(_started(argv, user, output))
            output.seek(max(0, output.seek(0, os.SEEK_END) - _READ))
            said = output.read().decode("utf-8", "replace") if fault else ""
    except (OSError, subprocess.SubprocessError) as error:
        raise _failed(hook, f"it could not be started ({error})", "") from error
    if fault:
        raise _failed(hook, fault, said)


def _started(argv: Sequence[str], user: Account | None, output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a command with nothing of the caller's, as ``user``, or as whoever runs this. Raises OSError."""
    return subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={"PATH": processes.PATH, "LC_ALL": "C", "HOME": user.home if user else "/root"},
        cwd="/",
        preexec_fn=processes.becoming(user),  # noqa: PLW1509 (unsafe beside threads: there are none here)
        start_new_session=True,
    )


def _ended(process: subprocess.Popen[bytes]) -> str:
    """Wait for the end of a command, and stop it with its children when that takes too long; return its fault."""
    try:
        status = process.wait(TIMEOUT)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return f"it did not end within {TIMEOUT:.0f} s and was stopped"
    return f"it ended with status {status}" if status else ""


def _failed(hook: Hook, fault: str, output: str) -> TlsError:
    said = masked(output)
    return TlsError(
        f"after_change: {hook.in_words()} failed: {fault}.{f' It printed: {said}' if said else ''} The new files stay.",
        remedy="Fix that, then rerun: the next run calls it again, until it succeeds.",
        code="after_change_failed",
        changed=True,
    )


def masked(output: str) -> str:
    """Return the end of an output on one line, without keys and passwords."""
    text = _PASSWORD.sub(lambda found: f"{found.group(1) or found.group(2)}********", _KEY.sub("a private key", output))
    line = " | ".join(part for part in (one.strip() for one in text.splitlines()) if part)
    return line if len(line) <= _LONGEST else f"...{line[-_LONGEST:]}"


def marked(mark: bytes | None, names: Sequence[str]) -> list[str]:
    """Return which of the identities with these ``names`` still wait for their hook, by the ``mark`` in a generation.

    All of them do if it cannot be read.
    """
    if mark is None:
        return []
    try:
        waiting = json.loads(mark)
        return [one for one in names if one in waiting]
    except (ValueError, TypeError):
        return list(names)


def mark_of(names: Sequence[str]) -> bytes:
    """Return the mark for identities that wait for their hook."""
    return json.dumps(list(names)).encode("ascii") + b"\n"


def forget(path: str, failed: Sequence[str], owner: Owner) -> None:
    """Note in the mark at ``path`` that of its hooks only those of the identities ``failed`` are still due."""
    if failed:
        files.write_atomically(path, mark_of(failed), 0o644, owner)
    elif os.path.lexists(path):
        os.unlink(path)
        files.sync_directory(os.path.dirname(path))
