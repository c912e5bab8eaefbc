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
      - Names for options in messages, by option. Use it in a role whose users set variables instead of these options.
      - The key for an option of another module begins with that module, such as V(certificate_authority.directory).
      - Messages use an option's own name if it is not in this dictionary. The roles of this collection pass the names
        of their variables.
    type: dict
    default: {}
"""
