# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The passphrase of a server's private key: whether there is one, and what ssl_passphrase_command says it is."""

from __future__ import annotations

import re
from typing import Mapping

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account, run
from ansible_collections.pgops.tls.plugins.module_utils.postgres import settings
from ansible_collections.pgops.tls.plugins.module_utils.postgres.state import ServerState

COMMAND, AT_RELOAD = "ssl_passphrase_command", "ssl_passphrase_command_supports_reload"
_PROMPT = "Enter PEM pass phrase:"  # what the server puts in the place of %p
_IN_DIRECTORY = 'cd "$0" && exec /bin/sh -c "$1"'  # relative paths of the command start from the data directory


def is_needed(key: bytes) -> bool:
    """Return whether a key (PEM) has a passphrase."""
    return b"BEGIN ENCRYPTED PRIVATE KEY" in key or b"Proc-Type: 4,ENCRYPTED" in key


def objection(wanted: Mapping[str, str], state: ServerState) -> str:
    """Return why a server with the ``wanted`` settings cannot get a passphrase at a reload, '' if it can."""
    if not wanted.get(COMMAND):
        return f"{COMMAND} is not set"
    is_on = settings.normal(wanted.get(AT_RELOAD, "off"), state.settings[AT_RELOAD]) == "on"
    return "" if is_on else f"{AT_RELOAD} is off"


def expanded(command: str) -> str:
    """Return a command as the server gives it to the shell."""
    return re.sub("%(.)", lambda found: {"p": _PROMPT, "%": "%"}.get(found.group(1), found.group()), command)


def ask(command: str, data_directory: str, account: Account) -> str:
    """Run the command as the server does at a reload, and return what it says. Raises TlsError.

    The output may be half of a secret, so no message shows it.
    """
    done = run(["/bin/sh", "-c", _IN_DIRECTORY, data_directory, expanded(command)], user=account)
    if done.status != 0:
        raise TlsError(
            f"{COMMAND} ended with status {done.status} as OS user {account.name!r}, so the server gets no passphrase",
            remedy=f"Correct {COMMAND}.",
            code="passphrase_unavailable",
        )
    return done.output.partition("\n")[0].rstrip("\r")
