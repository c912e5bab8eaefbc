# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What actions share that run the module of their name on a host, with the options that a role has among its variables.

Ansible starts a process for each task and host, and in each of them it would compile every template anew. What is
imported here is imported once, before these processes start. For the same reason the requests in a result are completed
here, and not by a task of their own.
"""

from __future__ import annotations

from typing import Any, ClassVar, Mapping

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.plugin_utils.role_options import RoleOptions


class ModuleAction(ActionBase):  # type: ignore[misc]
    """An action that runs the module of its name. ``ROLE`` is the role that may give options by ``__ROLE_options``.

    ``ONLY_WITH``: options that mean nothing unless another one is true. They are looked at only then.
    ``SOME_MAY_FAIL``: where a part of a host fails and another one asks for certificates, the role gives them to it
    before it fails the host.
    """

    _supports_check_mode = True
    _supports_async = True
    ROLE: ClassVar[str] = ""
    ONLY_WITH: ClassVar[Mapping[str, str]] = {}
    SOME_MAY_FAIL: ClassVar[bool] = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result. For a role also ``to_sign``: the requests in it as an authority gets them."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        declared = variables.get(f"__{self.ROLE}_options", {})
        self.role = RoleOptions(self.ROLE, variables, self._templar.template)
        arguments = {**self._options(declared), **self._task.args}
        is_async = self._task.async_val and not self._connection.has_native_async
        result.update(self._execute_module(module_args=arguments, task_vars=task_vars, wrap_async=is_async))
        if Display().verbosity < 3:  # else Ansible shows it
            result.pop("invocation", None)
        try:
            is_for_role = declared and (self.SOME_MAY_FAIL or not result.get("failed"))  # else it gets nothing signed
            requests = self.to_sign(result, arguments, variables["inventory_hostname"]) if is_for_role else []
        except TlsError as error:
            return {**result, "failed": True, **error.as_result()}
        return {**result, "failed": False, "to_sign": requests} if requests else result

    def to_sign(self, result: Mapping[str, Any], arguments: Mapping[str, Any], host: str) -> list[dict[str, Any]]:
        """Return the requests in the module's ``result``. What a certificate says comes from its ``arguments`` alone.

        By default there is none. Raises TlsError for a request that the inventory does not allow.
        """
        del result, arguments, host
        return []

    def _options(self, declared: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options that a role has declared."""
        found = dict(self.role.given({name: text for name, text in declared.items() if name not in self.ONLY_WITH}))
        late = {name: text for name, text in declared.items() if found.get(self.ONLY_WITH.get(name, ""))}
        return {**found, **dict(self.role.given(late))}
