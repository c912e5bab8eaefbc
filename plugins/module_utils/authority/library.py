# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the one library that an authority needs is available.

The other parts can be imported without it, but not used: modules ask here first.
"""

from __future__ import annotations

import re
import traceback

OLDEST = 38
REQUIREMENT = f"cryptography >= {OLDEST}"
FOUND = PROBLEM = ""

try:
    import cryptography
    import cryptography.x509  # an installation may lack what this part needs

    FOUND = cryptography.__version__
except ImportError:
    PROBLEM = traceback.format_exc()


def is_usable(found: str = FOUND) -> bool:
    """Return whether a version of cryptography (empty: not installed) is one that the authority works with."""
    major = re.match(r"[0-9]+", found)
    return major is not None and int(major.group()) >= OLDEST


def shortcoming(found: str = FOUND) -> str:
    """Say what is wrong with the library, for an error message."""
    return (
        f"Found version {found} of cryptography, which is too old."
        if found
        else "cryptography is not installed, or incomplete."
    )
