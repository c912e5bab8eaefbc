# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter of the page: one cluster, or all. It is CSS alone; without CSS, everything is shown."""

from __future__ import annotations

from typing import Any, Iterable, Mapping

from ansible_collections.pgops.tls.plugins.module_utils.report import facts, svg
from ansible_collections.pgops.tls.plugins.module_utils.report.connections import Reach, Target

_NONE = ""  # the cluster of a server in none


class Clusters:
    """The clusters of a report by number: no name of the inventory is part of a style sheet."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        named = {facts.cluster(one) for one in data["servers"].values()}
        self._numbers = {name: number for number, name in enumerate(sorted(named))} if named - {_NONE} else {}

    def __bool__(self) -> bool:
        """Return whether there is something to choose from."""
        return bool(self._numbers)

    def mark(self, clusters: Iterable[str]) -> str | None:
        """Return the attribute by which these clusters are found; None for what is always shown."""
        return " ".join(str(self._numbers[one]) for one in sorted(set(clusters)) if one in self._numbers) or None

    def of_targets(self, targets: Iterable[Target], reach: Reach) -> str | None:
        """Return the attribute by which targets are found."""
        return self.mark(cluster for one in targets for cluster in reach.of_target(one))

    def rules(self) -> str:
        """Return the style sheet that hides what is of other clusters than the chosen one."""
        rule = '#cluster-{0}:checked ~ main [data-c]:not([data-c~="{0}"]) {{ display: none }}\n'
        return "".join(rule.format(number) for number in self._numbers.values())

    def choice(self) -> str:
        """Return what a person chooses with: it must come before ``main``, beside it."""
        if not self:
            return ""
        buttons = [_button("all", "all", checked="checked")]
        buttons += [_button(number, name or "in no cluster") for name, number in self._numbers.items()]
        return svg.element("span", "Show cluster:", class_="choose") + "\n" + "\n".join(buttons) + "\n"


def _button(key: object, label: str, **more: str) -> str:
    own = f"cluster-{key}"
    button = svg.element("input", type="radio", name="cluster", id=own, **more)
    return button + svg.element("label", svg.escaped(label), for_=own)
