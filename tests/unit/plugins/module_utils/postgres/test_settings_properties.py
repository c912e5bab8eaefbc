# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings: any text is read or refused, and every value that is written is read back as it was."""

from __future__ import annotations

from ansible_collections.pgops.tls.plugins.module_utils.postgres import settings
from ansible_collections.pgops.tls.tests.properties import attempt
from hypothesis import example, given
from hypothesis import strategies as st

SETTING_TEXT = st.text(st.sampled_from("ssl_on =='\\\n#\t\r\0\x0b\u2028aé\u202e0"), max_size=60)


@given(st.text() | SETTING_TEXT)
@example("ssl = '" + "\\" * 100_000)
@example("ssl = " + "'" * 100_001)
def test_any_text_is_read_or_refused(text: str) -> None:
    found, message = attempt(settings.parse, text)
    if message:
        assert message.startswith("ssl.conf line ")
        assert len(message) < 500
    else:
        assert all(name == name.lower() for name in found)


@given(st.text() | SETTING_TEXT | st.integers() | st.floats() | st.booleans() | st.none() | st.lists(st.text()))
def test_what_is_written_is_read_back(value: object) -> None:
    written, message = attempt(settings.written, value)
    if message:
        assert message.startswith("ssl_conf: ")
        assert len(message) < 500
    else:
        wanted = {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
        assert settings.parse(f"ssl_x = {written}") == {"ssl_x": wanted}
