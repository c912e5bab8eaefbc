# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Identities whose first certificate comes in a later run: the others do not wait, and nothing is taken away meanwhile.

An identity that was renamed, or that gives up its password, has the files of its former name or login until then. So
the files of all names stay that no other identity has.
"""

from __future__ import annotations

import os
from typing import Collection, Sequence

from ansible_collections.pgops.tls.plugins.module_utils.client import user_files
from ansible_collections.pgops.tls.plugins.module_utils.client.home import HomeFiles
from ansible_collections.pgops.tls.plugins.module_utils.client.identities import Identity


def not_waiting(identities: Sequence[Identity], found: HomeFiles, later: Collection[str]) -> list[Identity]:
    """Return the identities that have a certificate, or do not wait for one. ``later`` are ids of those that may."""
    return [one for one in identities if one.id not in later or user_files.installed(found, one.name)]


def kept_for(identities: Sequence[Identity], found: HomeFiles) -> HomeFiles:
    """Return what there is, with the names whose files stay: all but those of ``identities``, which do not wait."""
    names = {os.path.dirname(path) for path in found.contents} - {""}
    return found._replace(kept=frozenset(names.difference(one.name for one in identities)))
