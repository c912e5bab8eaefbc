# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the certificates of servers and clients have to be, and when they are renewed."""

from __future__ import annotations


class ModuleDocFragment:
    """Options shared by modules server, client and session_info."""

    DOCUMENTATION = r"""
options:
  key_type:
    description: Type of the private keys.
    type: str
    choices: [P-256, P-384, RSA-3072, RSA-4096, Ed25519]
    default: P-256
  renew_before:
    description:
      - How long before its end a certificate is renewed, such as V(30d).
      - By default a third of its lifetime, plus up to a twelfth more, so that certificates are not all renewed at
        once.
      - It must be shorter than the lifetime of certificates. Otherwise every call would renew. A new certificate that
        is immediately due again is an error, and nothing changes.
      - A certificate that ends together with its issuing CA cannot get a successor that ends later. It is not renewed
        before two thirds of its lifetime, whatever this option says.
    type: str
"""

    # Named by the modules that change something, as pgops.tls.credential.clock
    CLOCK = r"""
options:
  controller_time:
    description: The controller's time in Unix seconds. The run stops if the clocks differ by more than 5 minutes.
    type: float
    required: true
"""
