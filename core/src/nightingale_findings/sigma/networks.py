"""`cidr`: whether a text is an address inside a network, by arithmetic. What is no address is in no network."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

_OCTET = "(0|[1-9][0-9]{0,2})"
_DOTTED = rf"{_OCTET}(\.{_OCTET}){{3}}"
_GROUPS = "([0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}"
_DIGITS = "0123456789abcdef"


def inside(text: str, network: IPv4Network | IPv6Network) -> str:
    """Return SQL that is true for an address of the network, in any spelling of it; null or false for all else.

    As Python's `ipaddress` has it: octets without leading zeros; an IPv4 address is in no IPv6 network. An address with
    a zone (`fe80::1%eth0`) is in none.
    """
    if isinstance(network, IPv6Network):
        # Most logs hold IPv4 addresses: the long way is gone for the others only.
        return f"CASE WHEN contains({text}, ':') THEN {_inside_v6(text, network)} ELSE FALSE END"
    low, high = int(network.network_address), int(network.broadcast_address)
    return f"(regexp_full_match({text}, '{_DOTTED}') AND {_as_number(text)} BETWEEN {low} AND {high})"


def _as_number(dotted: str) -> str:
    """Return SQL for the number that four octets are; null if one is above 255."""
    return " + ".join(f"{_octet(dotted, place)} * {256 ** (4 - place)}" for place in range(1, 5))


def _octet(dotted: str, place: int) -> str:
    return f"TRY_CAST(split_part({dotted}, '.', {place}) AS UTINYINT)::BIGINT"


def _inside_v6(text: str, network: IPv6Network) -> str:
    """Return SQL over the 32 digits of the address in full: a network is a pattern of how they begin."""
    # A lambda over a list of one names what would otherwise be written out at every place that needs it.
    groups = f"list_transform([{_without_dots(text)}], lambda plain: {_eight_groups('plain')})"
    digits = "array_to_string(list_transform(string_split(whole, ':'), lambda g: lpad(lower(g), 4, '0')), '')"
    length, bits = divmod(network.prefixlen, 4)
    nibbles = f"{int(network.network_address):032x}"
    begin = nibbles[:length]
    if bits:
        first = int(nibbles[length], 16)
        begin += f"[{_DIGITS[first : first + 2 ** (4 - bits)]}]"
    return (
        f"(NOT regexp_matches({text}, '^:[^:]|[^:]:$|:::') AND len(list_filter({groups}, lambda whole:"
        f" regexp_full_match(whole, '{_GROUPS}') AND regexp_matches({digits}, '^{begin}'))) > 0)"
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


def _eight_groups(text: str) -> str:
    """Return SQL for the address with its `::` written out; what has too many groups stays wrong."""
    groups = f"len(list_filter(string_split({text}, ':'), lambda g: g <> ''))"
    zeros = f"':' || repeat('0:', 8 - {groups})"
    written = f"trim(replace({text}, '::', {zeros}), ':')"
    return f"CASE WHEN contains({text}, '::') AND {groups} < 8 THEN {written} ELSE {text} END"
