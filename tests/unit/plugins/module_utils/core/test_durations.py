from __future__ import annotations

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core import durations
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1m", 60), ("12h", 43200), ("90d", 7_776_000), ("2w", 1_209_600), ("10y", 315_360_000), ("007d", 604_800)],
)
def test_a_number_and_a_unit_are_seconds(text: str, expected: int) -> None:
    assert durations.seconds(text, "lifetime") == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "90",
        "d",
        "0d",
        "-1d",
        "+1d",
        "1.5d",
        "1 d",
        " 1d",
        "1d ",
        "1d\n",
        "1D",
        "1dd",
        "1d12h",
        "٣d",
        "9" * 10 + "d",
    ],
)
def test_anything_else_is_an_error_that_names_option_and_text(text: str) -> None:
    with pytest.raises(TlsError, match=r"^renew_before: ") as caught:
        durations.seconds(text, "renew_before")
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("value", [90, None, True, 1.5])
def test_a_number_without_a_unit_is_an_error_and_not_a_traceback(value: object) -> None:
    with pytest.raises(TlsError, match="is not a duration"):
        durations.seconds(value, "lifetime")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (0, "0m"), (59, "0m"), (60, "1m"), (3599, "59m"), (3600, "1h"), (86399, "23h"), (86400, "1d"),
        (12 * 86400 + 5, "12d"), (315_360_000, "3650d"), (-90, "-1m"), (-86400, "-1d"), (-86399, "-23h"),
    ],
)  # fmt: skip
def test_words_are_whole_units_rounded_towards_now(span: int, expected: str) -> None:
    assert durations.in_words(span) == expected
