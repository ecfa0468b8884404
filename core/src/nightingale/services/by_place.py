"""What a host has for places, found by the names that the cluster file gives them.

A host in a cloud has something for a kind of place and a region: `aws/eu-central-1`. The file says of each place,
whatever its name, of which kind it is and in which region; two names may mean the same. Found is, in this order:

    the name itself        of a host that names its places: `local`, which is one machine
    kind/region            as the file has them of the place
    kind/…                 of a place without a region: the first that the host has of the kind, which is its own region
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from nightingale.domain.placement import KINDS
from nightingale.services.catalog import CatalogService

T = TypeVar("T")


def place_key(kind: str, region: str) -> str:
    """Return what a host says for a kind of place in one region."""
    return f"{kind}/{region}"


class ByPlace(Mapping[str, T]):
    """A mapping by name of place. It goes over what the host has, each once, by the first name that there is for it.

    Looking up may raise StoreUnavailableError while the cluster was never read.
    """

    def __init__(self, made: Mapping[str, T], catalog: Callable[[], CatalogService]) -> None:
        """Take what the host has, and what returns the catalogue: it may be made after this."""
        self._made = made
        self._catalog = catalog

    def __getitem__(self, name: str) -> T:
        """Return what the host has for this place. Raises KeyError when it has nothing for it."""
        return self._made[self._key(name)]

    def __iter__(self) -> Iterator[str]:
        """Yield a place's name for each that the host has; where the file has none for it, the host's own word."""
        if not self._made:
            return
        names = dict[str, str]()
        for place in self._catalog().places().values():
            if (key := self._key_of(place.name, place.kind, place.region)) is not None:
                names.setdefault(key, place.name)
        yield from (names.get(key, key) for key in self._made)

    def __len__(self) -> int:
        """Return how many the host has."""
        return len(self._made)

    def _key(self, name: str) -> str:
        if name in self._made:
            return name
        # A name that is new is in the file by now; no other costs a read of the store.
        place = self._catalog().places().get(name) or self._catalog().load().places.get(name)
        if place is not None:
            key = self._key_of(place.name, place.kind, place.region)
        else:  # one that left the file, or is not in it yet: a kind is a name that means itself
            key = self._key_of(name, name, "") if name in KINDS else None
        if key is None:
            raise KeyError(name)
        return key

    def _key_of(self, name: str, kind: str, region: str) -> str | None:
        for key in (name, place_key(kind, region)):
            if key in self._made:
                return key
        if region:
            return None
        return next((key for key in self._made if key.startswith(place_key(kind, ""))), None)
