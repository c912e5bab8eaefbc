# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What breaks when a root is dropped, as a person reads it before."""

from __future__ import annotations

from typing import Any, Collection, Mapping, NamedTuple, Sequence

from ansible_collections.pgops.tls.plugins.plugin_utils import kinds, kits, serials
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import CLIENTS, Groups, Hostvars

_LOST = "not in the inventory, so shut out permanently"
_GIVEN = "shut out until its holder has a new kit"
_REPLACED = "shut out until a run has reached it"
_UNUSED = "not in use, because it logs in by password"
_SAID = (_LOST, _GIVEN, _REPLACED, _UNUSED)  # in the order of their lines


def of_drop(result: Mapping[str, Any], hostvars: Hostvars, groups: Groups) -> list[str]:
    """Return what a person must know before a root is dropped, from what module certificate_authority said.

    Each certificate that breaks is a line, those that no run is going to replace first. Where several roots are
    trusted, each has its own lines and its own name, since only a person knows whose key was stolen.
    """
    if "root" not in result:
        return [str(result.get("msg"))]
    others = result.get("others", [])
    holders = _Holders.of(hostvars, groups)
    lines = [str(result["consequence"])]
    lines += [f"{result['root']}, and all other roots with it, since it is the one that issues:"] if others else []
    lines += [*holders.lines(result["breaks"]), _confirmation(result["root"])]
    for one in others:
        lines += [f"{one['root']} of {one['since']} alone:", *holders.lines(one["breaks"]), _confirmation(one["root"])]
    return lines


def _confirmation(root: str) -> str:
    return f"To do it: -e postgres_ca_drop_confirmed={root.rpartition(' ')[2]}"


class _Holders(NamedTuple):
    """The ids of certificates that the inventory knows, those in kits, and those of identities with a password."""

    declared: Collection[str]
    given: Collection[str]
    passwords: Collection[str]

    @classmethod
    def of(cls, hostvars: Hostvars, groups: Groups) -> _Holders:
        """Return those of an inventory."""
        return cls(
            kinds.ids(hostvars, groups),
            set(map(kits.id_of, kits.declared(hostvars, groups))),
            set(serials.by_password(hostvars, groups.get(CLIENTS, ()))),
        )

    def lines(self, breaks: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return a line for each certificate, those that nobody is going to replace first."""
        return [
            f"{one['id']}, until {one['not_after']}: {said}"
            for said in _SAID
            for one in breaks
            if self._said(one["id"]) == said
        ]

    def _said(self, holder: str) -> str:
        if holder not in self.declared:
            return _LOST
        if holder in self.given:
            return _GIVEN
        return _UNUSED if holder in self.passwords else _REPLACED
