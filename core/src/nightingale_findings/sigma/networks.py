"""`cidr`: whether a text is an address inside one of some networks. What is no address is in no network.

A network is a pattern of how an address in full begins: for IPv4 octet by octet, the last one that counts written out
as the numbers it may be; for IPv6 digit by digit, once the address is brought into its 32 digits. So any number of
networks is one pattern, and RE2 reads a text once.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_DOTTED = rf"{_OCTET}(?:\.{_OCTET}){{3}}"
_GROUPS = "(?:[0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}"
_DIGITS = "0123456789abcdef"


def inside(text: str, networks: Sequence[IPv4Network | IPv6Network]) -> str:
    """Return SQL that is true for an address of one of the networks, in any spelling; null or false for all else.

    As Python's `ipaddress` has it: octets without leading zeros; an IPv4 address is in no IPv6 network. An address with
    a zone (`fe80::1%eth0`) is in none.
    """
    v4 = [_dotted_begin(network) for network in networks if isinstance(network, IPv4Network)]
    v6 = [_digits_begin(network) for network in networks if isinstance(network, IPv6Network)]
    is_v4 = f"regexp_full_match({text}, '{'|'.join(v4)}')" if v4 else "FALSE"
    if not v6:
        return is_v4
    # Most logs hold IPv4 addresses: the long way is gone for the others only.
    return f"CASE WHEN contains({text}, ':') THEN {_inside_v6(text, v6)} ELSE {is_v4} END"


def _dotted_begin(network: IPv4Network) -> str:
    whole, bits = divmod(network.prefixlen, 8)
    given = network.network_address.packed
    octets = [str(octet) for octet in given[:whole]]
    if bits:
        last = range(given[whole], given[whole] + 2 ** (8 - bits))
        octets.append(f"(?:{'|'.join(str(octet) for octet in last)})")
    return r"\.".join(octets + [_OCTET] * (4 - len(octets)))


def _digits_begin(network: IPv6Network) -> str:
    length, bits = divmod(network.prefixlen, 4)
    digits = f"{int(network.network_address):032x}"
    if not bits:
        return digits[:length]
    first = int(digits[length], 16)
    return f"{digits[:length]}[{_DIGITS[first : first + 2 ** (4 - bits)]}]"


def _inside_v6(text: str, begins: Sequence[str]) -> str:
    """Return SQL over the 32 digits of the address in full."""
    # A lambda over a list of one names what would otherwise be written out at every place that needs it.
    groups = f"list_transform([{_without_dots(text)}], lambda plain: {_eight_groups('plain')})"
    digits = "array_to_string(list_transform(string_split(whole, ':'), lambda g: lpad(lower(g), 4, '0')), '')"
    return (
        f"(NOT regexp_matches({text}, '^:[^:]|[^:]:$|:::') AND len(list_filter({groups}, lambda whole:"
        f" regexp_full_match(whole, '{_GROUPS}') AND regexp_matches({digits}, '^(?:{'|'.join(begins)})'))) > 0)"
    )


def _without_dots(text: str) -> str:
    """Return SQL for the address with four octets at its end as two groups; null if they are no octets."""
    tail = f"regexp_extract({text}, '[^:]*$')"
    high, low = (f"to_hex({_octet(tail, place)} * 256 + {_octet(tail, place + 1)})" for place in (1, 3))
    joined = f"left({text}, length({text}) - length({tail})) || {high} || ':' || {low}"
    return (
        f"CASE WHEN contains({text}, '.') THEN CASE WHEN regexp_full_match({tail}, '{_DOTTED}') THEN {joined} END"
        f" ELSE {text} END"
    )


def _octet(dotted: str, place: int) -> str:
    return f"TRY_CAST(split_part({dotted}, '.', {place}) AS UTINYINT)::BIGINT"


def _eight_groups(text: str) -> str:
    """Return SQL for the address with its `::` written out; what has too many groups stays wrong."""
    groups = f"len(list_filter(string_split({text}, ':'), lambda g: g <> ''))"
    zeros = f"':' || repeat('0:', 8 - {groups})"
    written = f"trim(replace({text}, '::', {zeros}), ':')"
    return f"CASE WHEN contains({text}, '::') AND {groups} < 8 THEN {written} ELSE {text} END"
