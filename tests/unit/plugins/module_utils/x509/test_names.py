from __future__ import annotations

import hashlib
import ipaddress

import pytest
from ansible_collections.pgops.tls.plugins.module_utils.core.errors import TlsError
from ansible_collections.pgops.tls.plugins.module_utils.x509 import names
from ansible_collections.pgops.tls.plugins.module_utils.x509.names import Name


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("db1", "db1"),
        ("DB1.Example.COM", "db1.example.com"),
        ("db1.example.", "db1.example"),
        ("*.db.example", "*.db.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("1db.example", "1db.example"),
        ("1.2.3.4.example", "1.2.3.4.example"),
        ("DB_1.my_net.example", "db_1.my_net.example"),
        ("_a.b_.example", "_a.b_.example"),
        ("1_0", "1_0"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
        (".".join(["a" * 49] * 5) + ".abc", ".".join(["a" * 49] * 5) + ".abc"),
    ],
)
def test_a_dns_name_is_lower_case_without_a_closing_dot(text: str, value: str) -> None:
    assert names.parse(text, "names") == Name("dns", value)


@pytest.mark.parametrize(
    ("host", "is_covered"),
    [
        ("pg1.example.com", True),
        ("PG1.Example.com.", True),
        ("a.db.example", True),
        ("db.example", False),
        ("a.b.db.example", False),
        ("2001:DB8:0::1", True),
        ("192.0.2.1", False),
        ("", False),
    ],
)
def test_which_hosts_a_certificate_is_for(host: str, is_covered: bool) -> None:
    held = names.parse_all(["pg1.example.com", "*.db.example", "2001:db8::1"], "names")
    assert names.covers_host(held, host) is is_covered


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::1", "::1"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
    ],
)
def test_an_address_is_canonical(text: str, value: str) -> None:
    assert names.parse(text, "names") == Name("ip", value)


def test_addresses_agree_with_the_standard_library() -> None:
    for size in (4, 16):
        noise = hashlib.shake_256(b"addresses").digest(2 * size * 300)
        for start in range(0, len(noise), 2 * size):
            pairs = zip(noise[start : start + size], noise[start + size :])
            packed = bytes(byte if other % 3 else 0 for byte, other in pairs)  # many zeros: they are left out of IPv6
            address = ipaddress.ip_address(packed)
            assert names.packed_address(str(address)) == packed
            assert ipaddress.ip_address(names.unpacked_address(packed)) == address


@pytest.mark.parametrize(
    "text",
    [
        "", " ", ".", "..", "a..b", ".a", "-a", "a-", "a+b", "a b", "a\tb", "a/b", "a,b", "a\0", "a\n", "*", "*.",
        "*.a", "a.*.b", "*a.b.c", "**.b.c", "a.*", "bücher.example", "256.1.1.1", "1.2.3", "1.2.3.4.5", "1",
        "fe80::1%eth0", "[::1]", "_-", "-_", "a_.1", "a_" + "a" * 62,
        "192.0.2.1/32", "192.0.2.1:5432", "http://a.b", "a" * 64, ("a" * 50 + ".") * 5 + "abc", "\udc80",
        "\u212aafka.example",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(TlsError, match=r"^postgres_server_names: .* is neither a DNS name nor an IP address"):
        names.parse(text, "postgres_server_names")


@pytest.mark.parametrize("text", ["*.a_b.c", "*._a.b", "*.a.b_"])
def test_a_wildcard_with_an_underscore_is_refused_as_openssl_matches_it_with_nothing(text: str) -> None:
    with pytest.raises(TlsError, match=r"^names: '.*' is a wildcard with an underscore. .* List the names themselves"):
        names.parse(text, "names")


def test_names_with_an_underscore_are_told_with_who_refuses_them() -> None:
    found = names.parse_all(["db1.example", "db_1.example", "*.db.example", "::1", "_b", "c_", "d_.example"], "names")
    [told] = names.underscored(found, "names")
    assert told.startswith("db_1.example, _b, c_ and 1 more: host names have no underscores")
    assert "Java's own check of host names refuses them, and public CAs issue no certificate for them" in told
    assert names.underscored(found[:1] + found[2:4], "names") == []
    assert told.endswith("add another one to names and connect by that.")


def test_names_keep_their_order_and_lose_their_duplicates() -> None:
    found = names.parse_all(["b.example", "A.example", "::1", "a.example.", "0:0::1"], "names")
    assert found == [Name("dns", "b.example"), Name("dns", "a.example"), Name("ip", "::1")]


@pytest.mark.parametrize("nothing", [None, [], (), "", "db1.example", {"a": 1}])
def test_no_list_or_an_empty_one_is_refused(nothing: object) -> None:
    with pytest.raises(TlsError, match="names: no names were given"):
        names.parse_all(nothing, "names")
