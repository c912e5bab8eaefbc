# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What sources have in common that start a program, and whose roots are in a file."""

from __future__ import annotations

import abc
from typing import Callable, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority.requests import Request
from ansible_collections.pgops.tls.plugins.module_utils.source import answers, programs, root_file
from ansible_collections.pgops.tls.plugins.module_utils.source.contract import Signed, Source, Trust
from ansible_collections.pgops.tls.plugins.module_utils.source.declared import Declared


class WithProgram(Source):
    """A CA that a program of the inventory's author speaks to, or shows something to."""

    def __init__(self, declared: Declared) -> None:
        super().__init__(declared)
        self._type = declared.type
        self._argv: Sequence[str] = self.options["command"]
        self._option = f"{self.place}.command"
        self._patience = int(self.options.get("timeout") or programs.PATIENCE)

    def trust(self, now: int) -> Trust:
        """Return what is in the file of roots. The program is not started, but must be there."""
        del now
        programs.check(self._argv, self._option)
        return root_file.trust(str(self.options["roots"]), f"{self.place}.roots", self._type)

    def sign(self, requests: Sequence[Request], lifetime: int, now: int, *, is_dry: bool) -> Signed:
        """Have all requests signed that ask for what the inventory wants. A dry run starts nothing."""
        if is_dry:
            return Signed({}, {})
        trust, clock = self.trust(now), answers.clock(now)
        fit, refused = answers.fit(requests)
        if not fit:
            return Signed({}, refused)
        signed = self._signed(fit, lifetime, trust, clock)
        return signed._replace(refused={**refused, **signed.refused})

    @abc.abstractmethod
    def _signed(self, requests: Sequence[Request], lifetime: int, trust: Trust, clock: Callable[[], int]) -> Signed:
        """Return what becomes of requests. ``clock`` gives the time in Unix seconds. Raises TlsError."""
