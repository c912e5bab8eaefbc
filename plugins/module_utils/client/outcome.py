# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is reported of a call for the identities of one OS user."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.client.home import HomeFiles
from ansible_collections.pgops.tls.plugins.module_utils.client.identities import Identity
from ansible_collections.pgops.tls.plugins.module_utils.client.plan import Plan
from ansible_collections.pgops.tls.plugins.module_utils.client.requests import Request
from ansible_collections.pgops.tls.plugins.module_utils.x509.certificate import Certificate


class UserOutcome(NamedTuple):
    """What was done for one OS user or, in check mode, would be.

    ``before`` and ``after`` are the leaves by identity; ``changes`` is everything in words, ``changed`` whether there
    was (or would be) something to write. ``next_run`` is what the declared state would change again after a roll-back.
    ``hooks`` are the identities whose ``after_change`` has to run now, for the files in ``generation``.
    """

    plan: Plan
    changed: bool
    changes: list[str]
    requests: list[Request]
    before: dict[str, Certificate]
    after: dict[str, Certificate]
    found: HomeFiles
    next_run: Sequence[str] = ()
    hooks: Sequence[Identity] = ()
    generation: str | None = None
    endpoints: Sequence[Mapping[str, Any]] = ()  # what servers outside the inventory show, see managed.py
