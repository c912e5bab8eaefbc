# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Has Patroni read its file and its certificate, and proves that by its REST API.

Every signal goes through the gate (``patroni/gate.py``).
"""

from __future__ import annotations

import contextlib
import ssl
import time
from typing import NamedTuple

from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.core.processes import Account
from ansible_collections.pgops.tls.plugins.module_utils.patroni import api, gate
from ansible_collections.pgops.tls.plugins.module_utils.patroni.api import Answer
from ansible_collections.pgops.tls.plugins.module_utils.patroni.process import Patroni
from ansible_collections.pgops.tls.plugins.module_utils.postgres import wire
from ansible_collections.pgops.tls.plugins.module_utils.postgres.wire import Endpoint

_PATIENCE = (30.0, 60.0)  # seconds after the first and the second signal: Patroni acts once in a loop_wait (10 s)
_TURNS = 2  # of Patroni's main loop: it acts on signals between two, and one may be under way
_PAUSE = 0.1


class Node(NamedTuple):
    """A Patroni, the OS user that runs it, where its REST API listens, and the pair that this node shows to it."""

    patroni: Patroni
    account: Account
    at: Endpoint
    pair: tuple[str, str]

    def context(self) -> ssl.SSLContext:
        """Return a client that takes any certificate, and shows this node's own if there is one."""
        return wire.observing_context(*self.pair)


class Prover:
    """Reloads one Patroni. ``signals`` counts how often it was told to.

    What its REST API answered last, with TLS or without, is tried first: the other form is noise in its log.
    """

    def __init__(self, node: Node, answer: Answer | None) -> None:
        self.node = node
        self.signals = 0
        self._has_tls = answer is not None and answer.has_tls

    def look(self) -> Answer | None:
        """Return what the REST API answers, None for silence."""
        answer = api.look(self.node.at, self.node.context(), has_tls=self._has_tls)
        self._has_tls = self._has_tls if answer is None else answer.has_tls
        return answer

    def signal(self) -> None:
        """Tell Patroni to read its file. Raises TlsError where that could block it."""
        gate.signal(self.node.patroni, self.node.account, self.look)
        self.signals += 1

    def load(self, fingerprint: str) -> None:
        """Reload until the REST API shows this leaf ('' for no TLS), and answers. Raises TlsError.

        If patroni.yml has changed as well, Patroni looks at the certificate only at the second signal.
        """
        for patience in _PATIENCE:
            self.signal()
            if self._shows(fingerprint, patience):
                return
        raise TlsError(
            f"Patroni's REST API ({self.node.at}) shows another certificate than expected, although Patroni was told "
            f"to reload twice in {sum(_PATIENCE):.0f} s.",
            remedy="Its log says why. Is its loop_wait above 30 s?",
            code="patroni_not_reloaded",
        )

    def previous(self, fingerprint: str) -> None:
        """Have the REST API show what it showed before a change ('' for no TLS). Raises TlsError."""
        answer = self.look()
        if self.signals or answer is None or answer.fingerprint != fingerprint:
            self.load(fingerprint)

    def try_to_signal(self) -> None:
        """Tell Patroni to read its file if that is safe: who starts later reads it anyway."""
        with contextlib.suppress(TlsError):
            self.signal()

    def wait_for_earlier_signals(self) -> None:
        """Wait until Patroni has acted on all signals that it got before, for 30 s at most.

        It reads its file, and later the files that this names. If they are gone by then, its REST API stays silent.
        """
        turns = seen = 0
        deadline = time.monotonic() + _PATIENCE[0]
        while turns < _TURNS and time.monotonic() < deadline:
            last = self._last_turn()
            if last not in (0, seen):
                turns, seen = turns + bool(seen), last
            time.sleep(_PAUSE)

    def _last_turn(self) -> int:
        """Return when Patroni's main loop last looked at the cluster (Unix seconds), 0 if it does not say that."""
        answer = api.look(self.node.at, self.node.context(), api.STATUS, has_tls=self._has_tls)
        found = answer.data.get("dcs_last_seen") if answer else 0
        return found if isinstance(found, int) else 0

    def _shows(self, fingerprint: str, patience: float) -> bool:
        """Wait until the REST API shows a leaf, and Patroni's main loop turns. Raises TlsError for silence."""
        started = answered = time.monotonic()
        while True:
            answer, now = self.look(), time.monotonic()
            if answer is not None:
                answered = now
                if answer.fingerprint == fingerprint and answer.status == 200:
                    return True
            elif now - answered > gate.SILENCE:
                raise gate.silent(self.node.at, "")
            if now - started > patience:
                return False
            time.sleep(_PAUSE)
