# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No CA at all: something else puts certificates on the servers and renews them. Only their roots are known here."""

from __future__ import annotations

from typing import Sequence

from ansible_collections.pgops.tls.plugins.module_utils.authority.requests import Request
from ansible_collections.pgops.tls.plugins.module_utils.core.options import option
from ansible_collections.pgops.tls.plugins.module_utils.source import root_file
from ansible_collections.pgops.tls.plugins.module_utils.source.contract import Signed, Source, Trust
from ansible_collections.pgops.tls.plugins.module_utils.source.declared import EXISTING


class Existing(Source):
    """Trust without a signer."""

    def trust(self, now: int) -> Trust:
        """Return what is in the file of roots."""
        del now
        found = root_file.read(str(self.options["roots"]), f"{self.place}.roots")
        return Trust(EXISTING, [one for one in found if one.is_self_signed])

    def sign(self, requests: Sequence[Request], lifetime: int, now: int, *, is_dry: bool) -> Signed:
        """Refuse each request, by the name of its host."""
        del lifetime, now, is_dry
        why = (
            f"{{}}: {self.place} is of type {EXISTING}, so nothing here signs certificates of servers. Name the files "
            f"of this server in {option('server.existing')}, or choose another type."
        )
        return Signed({}, {one.id: why.format(one.id) for one in requests})
