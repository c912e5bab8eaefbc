# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Groups for the key exchange: what they are called, and whether a server can be given some that it may not know.

A name with a question mark before it is skipped by an OpenSSL that does not have the group, if that OpenSSL knows the
question mark. An older one refuses the whole list. So the server's own library decides, and a file of it on disk proves
nothing: a server keeps what it has loaded.
"""

from __future__ import annotations

import contextlib
import os
import re
import ssl
from typing import Sequence

from ansible_collections.pgops.tls.plugins.module_utils.core.privileges import acting_as
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account

_OPTIONAL = "?"
# OpenSSL's documentation has the question mark since 3.3. The post-quantum groups came with 3.5.
_SINCE = (3, 5)
# The names that PostgreSQL's documentation has, by what versions of OpenSSL say
_NAMES = {"P-256": "prime256v1", "secp256r1": "prime256v1", "P-384": "secp384r1", "P-521": "secp521r1"}
_SHOWN = re.compile(r"^(?:Negotiated TLS1\.3 group: |(?:Peer|Server) Temp Key: (?:ECDH, )?)([\w-]+)", re.MULTILINE)
_DELETED = " (deleted)"


def name(group: str) -> str:
    """Return the usual name of a group that OpenSSL names; '' stays."""
    usual = {"x25519": "X25519", "x448": "X448"}.get(group, group)
    return _NAMES.get(usual, usual)


def negotiated(output: str) -> str:
    """Return the group that a handshake of ``openssl s_client`` has agreed on, '' if it shows none."""
    found = _SHOWN.search(output)
    return name(found[1]) if found else ""


def split(groups: str) -> tuple[list[str], list[str]]:
    """Return the groups of a list that a server must know, and the names of those that it may not know."""
    listed = groups.split(":")
    return (
        [one for one in listed if not one.startswith(_OPTIONAL)],
        [one[len(_OPTIONAL) :] for one in listed if one.startswith(_OPTIONAL)],
    )


def objection(pid: int, account: Account, in_use: str) -> str:
    """Return why a server cannot be given groups that it may not know, '' if it can.

    ``pid`` is its process, ``account`` its OS user, who may look at it. A container's root may not. ``in_use`` is the
    list that it has now. If that has such groups, an upgrade on disk changes nothing: the process keeps its library.
    """
    with acting_as(account) if os.geteuid() == 0 else contextlib.nullcontext():
        theirs = _library(str(pid))
    if theirs.endswith(_DELETED) and split(in_use)[1]:
        return ""
    return judged(theirs, _library("self"), ssl.OPENSSL_VERSION_INFO, ssl.OPENSSL_VERSION)


def judged(theirs: str, own: str, version: Sequence[int], in_words: str) -> str:
    """Return the same from the libraries of the server and of this process, whose version is known."""
    if theirs.endswith(_DELETED):
        return "OpenSSL was replaced while the server runs. Restart the server, and rerun"
    if not theirs or theirs != own:
        return (
            "the version of the server's OpenSSL is not known: it is not the one of this host's Python, or its process "
            "cannot be looked at. If it is 3.5 or later, list the groups without a question mark"
        )
    return "" if tuple(version[:2]) >= _SINCE else f"the server has {in_words}, and they need 3.5 or later"


def _library(process: str) -> str:
    """Return device, file number and path of the libssl that a process has loaded, '' if that cannot be seen."""
    with contextlib.suppress(OSError), open(f"/proc/{process}/maps", encoding="utf-8", errors="replace") as stream:
        for line in stream:
            fields = line.rstrip("\n").split(None, 5)
            if len(fields) == 6 and os.path.basename(fields[5]).startswith("libssl"):
                return " ".join(fields[3:])
    return ""
