# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the modules that ask a PostgreSQL server by its socket reach it."""

from __future__ import annotations


class ModuleDocFragment:
    """Options shared by modules server, session_info and hba_info."""

    DOCUMENTATION = r"""
options:
  port:
    description:
      - Port of the server. The module finds the server through its Unix socket. For a host with several clusters, call
        it once for each.
    type: int
    default: 5432
  login_unix_socket:
    description:
      - Directory of the server's Unix socket.
      - By default the first of V(/var/run/postgresql) and V(/run/postgresql) with a socket for O(port). V(/tmp) must
        be set explicitly, because anybody can put a socket there while the server is down.
    type: path
  login_user:
    description:
      - The role for the connection over the socket. The module connects as the OS user that owns the socket.
      - By default the role with the name of that OS user.
      - M(pgops.tls.server) and M(pgops.tls.session_info) need a superuser.
      - With O(pgops.tls.session_info#module:login_host), it is the role for the login over the network.
    type: str
"""
