# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module says about check mode, diff mode, idempotence and platform, and some about their group."""

from __future__ import annotations


class ModuleDocFragment:
    """Attributes shared by the modules; a module gives the C(support) of each."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
  diff_mode:
    description: Returns details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
  idempotent:
    description:
      - When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
      - This assumes that the system controlled or queried by the module has not changed in a relevant way.
  platform:
    description: The operating systems that the module runs on.
    support: full
    platforms: linux
"""

    # Named by modules that only read
    INFO = r"""
options: {}
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
"""

    # Named by modules beside the fragment above, as pgops.tls.attributes.authorities
    AUTHORITIES = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/pgops.tls.authorities) in C(module_defaults) to set the options of these modules at once.
    support: full
    membership: [pgops.tls.authorities]
"""

    HOSTS = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/pgops.tls.hosts) in C(module_defaults) to set the options of these modules at once.
    support: full
    membership: [pgops.tls.hosts]
"""
