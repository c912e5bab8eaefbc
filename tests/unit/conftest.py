# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Hypothesis looks for examples: the same ones in every run, and without files in the checkout."""

from __future__ import annotations

import tempfile

from hypothesis import configuration, settings

settings.register_profile("unit", derandomize=True, database=None, deadline=None, max_examples=200)
settings.load_profile("unit")
configuration.set_hypothesis_home_dir(tempfile.gettempdir())
