# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action that runs module pgbouncer, with the options that role postgres_pooler may have among its variables."""

from __future__ import annotations

from ansible_collections.pgops.tls.plugins.plugin_utils import module_actions


class ActionModule(module_actions.ModuleAction):
    """The action of this file."""

    ROLE = "postgres_pooler"
