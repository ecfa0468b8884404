"""`cidr`: whether a text is an address inside a network, by arithmetic. What is no address is in no network."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

from nightingale_findings.sigma.refusal import Refusal

_OCTET = "(0|[1-9][0-9]{0,2})"
_ADDRESS = rf"{_OCTET}(\.{_OCTET}){{3}}"


def inside(text: str, network: IPv4Network | IPv6Network) -> str:
    """Return SQL that is true for an address of the network; null or false for all else. Raises Refusal for IPv6."""
    if isinstance(network, IPv6Network):
        raise Refusal(
            f"`cidr` of the IPv6 network {network} is not supported",
            "match the address as text, with `startswith`, as the log writes it",
        )
    low = int(network.network_address)
    high = int(network.broadcast_address)
    octets = " + ".join(
        f"TRY_CAST(split_part({text}, '.', {place}) AS UTINYINT)::BIGINT * {256 ** (4 - place)}"
        for place in range(1, 5)
    )
    return f"(regexp_full_match({text}, '{_ADDRESS}') AND {octets} BETWEEN {low} AND {high})"
