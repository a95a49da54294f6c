"""Which captioners the page lets a person choose from."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from wordgaze.core import paths
from wordgaze.core.errors import WordgazeError
from wordgaze.inference.folder_names import CARD
from wordgaze.inference.packaged import PHOTOS, packaged_captioner
from wordgaze.tracking.names import REGISTRY
from wordgaze.tracking.resolve import champion, default_model, is_registered, resolve


class Offer(NamedTuple):
    """A captioner that can be loaded: the name that the page shows, and its folder or address of the registry."""

    name: str
    address: str


def find_offers(models: Sequence[str] = ()) -> list[Offer]:
    """``models``, or else the default model; then the packaged captioner, the registry's champion and the captioner
    folders in ``models/`` of the project, the newest first. Each captioner is offered once.

    Raises ModelError where there is no captioner at all and where a folder of ``models`` holds none, TrackingError
    where the registry cannot be read.
    """
    given = list(models) or [default_model()]
    for address in given:
        if not is_registered(address):
            _ = resolve(address).version  # a mistyped folder is reported before the page opens
    by_place: dict[str, str] = {}
    for address in [*given, *_others()]:
        by_place.setdefault(_place(address), address)
    addresses = list(by_place.values())
    return [Offer(name, address) for name, address in zip(_names(addresses), addresses, strict=True)]


def _others() -> Iterator[str]:
    if packaged_captioner(PHOTOS) is not None:
        yield PHOTOS
    with suppress(WordgazeError):  # a registry that cannot be read does not keep the other captioners from the page
        if (registered := champion()) is not None:
            yield registered
    yield from map(str, _trained())


def _trained() -> list[Path]:
    cards = paths.STAGE2.parent.glob(f"*/{CARD}")
    return [card.parent for card in sorted(cards, key=lambda card: (card.stat().st_mtime, str(card)), reverse=True)]


def _place(address: str) -> str:
    """What is equal for two addresses of one captioner."""
    return address if is_registered(address) else str(resolve(address).folder.resolve())


def _names(addresses: Sequence[str]) -> list[str]:
    """The names of the models: short ones if these are distinct, else the addresses."""
    short = [address.removeprefix(REGISTRY) if is_registered(address) else Path(address).name for address in addresses]
    return [name if short.count(name) == 1 else address for name, address in zip(short, addresses, strict=True)]
