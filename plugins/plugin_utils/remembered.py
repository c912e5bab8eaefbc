# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of all hosts, each of them put together and templated once within a task.

Ansible does both again for each look at them, which takes a millisecond or more.
"""

from __future__ import annotations

from typing import Any, Iterator, Mapping


class _Remembered(Mapping[str, Any]):
    """A mapping that asks another one for each key once. What raises is asked again."""

    def __init__(self, source: Mapping[str, Any]) -> None:
        self._source = source
        self._known: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        """Return a value, or raise what the source raises."""
        if key not in self._known:
            self._known[key] = self._found(self._source[key])
        return self._known[key]

    def __contains__(self, key: object) -> bool:
        """Return whether the source has a key, without looking at its value."""
        return key in self._source

    def __iter__(self) -> Iterator[str]:
        """Return the keys of the source."""
        return iter(self._source)

    def __len__(self) -> int:
        """Return how many keys the source has."""
        return len(self._source)

    def _found(self, value: Any) -> Any:
        return value


class Hostvars(_Remembered):
    """``hostvars``, and the variables of each host."""

    @property
    def inventory(self) -> Any:
        """Return Ansible's inventory, which alone knows the groups below a group; None if it cannot be seen."""
        return getattr(self._source, "_inventory", None)

    def _found(self, value: Any) -> Any:
        return _Remembered(value) if isinstance(value, Mapping) else value


def written(variables: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the variables of a host as the inventory has them, before any template; as they are if that is unknown."""
    own = variables._source if isinstance(variables, _Remembered) else variables  # noqa: SLF001
    found: Mapping[str, Any] = getattr(own, "_vars", own)
    return found
