"""What can be wrong with the places of a cluster file: their names, machine types, and what is said to lie there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from nightingale.contract.schemas import ClusterIn, PlaceIn, ProjectIn
from nightingale.domain.catalog import NO_GPU
from nightingale.domain.placement import AUTO, KINDS

NEVER = "gcp"
"""The kind of places for which there is Terraform (infra/instance/gcp), and no adapter that looks at machines."""

_DATASET_IN_AWS = re.compile(
    r"ebs:snap-[0-9a-f]{8,17}|efs:fs-[0-9a-f]{8,17}:/[A-Za-z0-9._/-]*|"
    r"s3:[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._/-]*)?"
)
"""As infra/instance/aws takes them."""

_DATASET_IN_AZURE = re.compile(
    r"snapshot:/subscriptions/[0-9a-fA-F-]{36}/resourceGroups/[^/\s]+/providers/Microsoft\.Compute/snapshots/[^/\s]+"
)
"""As infra/instance/azure takes them, for every tier."""


def place_mistakes(cluster: ClusterIn) -> Iterator[tuple[str, str]]:
    """Yield (path, words) of everything wrong with places, and with what projects, images and datasets say of them."""
    places = {place.name: place for place in cluster.places}
    yield from _places(cluster)
    for position, project in enumerate(cluster.projects):
        yield from _project(f"projects[{position}].places", project, places)
    for position, image in enumerate(cluster.images):
        yield from _unknown(f"images[{position}].sources", image.sources, places)
    for position, dataset in enumerate(cluster.datasets):
        path = f"datasets[{position}].sources"
        yield from _unknown(path, dataset.sources, places)
        for name, source in dataset.sources.items():
            if name in places and (words := _wrong_source(places[name].kind, source, dataset.tier)):
                yield f"{path}.{name}", words


def place_notes(cluster: ClusterIn) -> tuple[str, ...]:
    """Return, in words, in which of the file's places nothing will ever launch."""
    return tuple(
        f"nothing launches in {place.name}: its kind is {NEVER}, in which no version of this platform runs machines"
        " yet; what the file says of it is kept, and launches there are refused"
        for place in cluster.places
        if place.kind == NEVER
    )


def _places(cluster: ClusterIn) -> Iterator[tuple[str, str]]:
    gpus = {NO_GPU.name, *(size.name for size in cluster.sizes.gpu)}
    for position, place in enumerate(cluster.places):
        path = f"places[{position}]"
        if place.name == AUTO:
            yield f"{path}.name", f"{AUTO} asks for the best place: take another name"
        if place.name in KINDS and place.name != place.kind:
            yield f"{path}.name", f"{place.name} is a kind of place, and this one is of kind {place.kind}"
        if place.machines and place.kind == "local":
            yield f"{path}.machines", "a local place has no machine types: it runs every size of its rate"
        for number, machine in enumerate(place.machines):
            if machine.gpu not in gpus:
                yield f"{path}.machines[{number}].gpu", f"there is no gpu size {machine.gpu} in this file"


def _project(path: str, project: ProjectIn, places: Mapping[str, PlaceIn]) -> Iterator[tuple[str, str]]:
    kinds = {place.kind for place in places.values()}
    for number, entry in enumerate(project.places):
        if entry in project.places[:number]:
            yield f"{path}[{number}]", f"{entry} is there already"
        elif entry not in places and entry not in kinds:
            yield f"{path}[{number}]", f"there is no place {entry} in this file, and none of that kind"


def _unknown(path: str, sources: Mapping[str, str], places: Mapping[str, PlaceIn]) -> Iterator[tuple[str, str]]:
    yield from ((f"{path}.{name}", f"there is no place {name} in this file") for name in sources if name not in places)


def _wrong_source(kind: str, source: str, tier: int) -> str:
    if kind == "local":
        folder = PurePosixPath(source)
        is_good = folder.is_absolute() and ".." not in folder.parts
        return "" if is_good else "a dataset's folder is an absolute path without .."
    if kind == "aws" and (_DATASET_IN_AWS.fullmatch(source) is None or ".." in source):
        return "in aws a dataset is ebs:snap-..., efs:fs-...:/path or s3:bucket/prefix, in plain characters"
    if kind == "aws" and tier > 0 and not source.startswith("ebs:"):
        return f"from tier 1 on reads are recorded, which takes a disk: in aws one of tier {tier} is ebs:snap-..."
    if kind == "azure" and _DATASET_IN_AZURE.fullmatch(source) is None:
        return "in azure a dataset is snapshot:/subscriptions/.../providers/Microsoft.Compute/snapshots/NAME"
    return ""
