# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the modules whose messages say which option to set learn what it is called where they are used."""

from __future__ import annotations


class ModuleDocFragment:
    """Option shared by the modules that change something, and by session_info and hba_info."""

    DOCUMENTATION = r"""
options:
  option_names:
    description:
      - What messages call options, by the options' names. It is for roles whose users set variables in their place.
      - Options of another module have its name before theirs, such as V(certificate_authority.directory).
      - Messages call what is not in it by the option's own name. The roles of this collection name their variables.
    type: dict
    default: {}
"""
