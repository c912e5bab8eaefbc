# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the actions of this collection share: each reads options and variables, and answers with data."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping

from ansible.plugins.action import ActionBase
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.plugin_utils import remembered
from ansible_collections.pgops.tls.plugins.plugin_utils.graph import Variables

Specification = Mapping[str, Mapping[str, Any]]


class Action(ActionBase):  # type: ignore[misc]
    """An action on the controller. ``answer`` makes its result; a TlsError fails the task with that message.

    ``options`` are those of the task, checked against ``OPTIONS``, an argument specification.
    """

    _requires_connection = False
    OPTIONS: ClassVar[Specification] = {}

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the answer as the task's result."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, self.options = self.validate_argument_spec(dict(self.OPTIONS))
        try:
            return {**result, **self.answer(_with_memory(task_vars or {}))}
        except TlsError as error:
            return {**result, "failed": True, **error.as_result()}

    def answer(self, variables: Variables) -> dict[str, Any]:
        """Return the keys of the result. ``variables`` are those of the task. Raises TlsError to fail the task."""
        raise NotImplementedError


def _with_memory(variables: Variables) -> Variables:
    return (
        {**variables, "hostvars": remembered.Hostvars(variables["hostvars"])} if "hostvars" in variables else variables
    )
