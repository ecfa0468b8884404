"""What Terraform is told of an instance: the variables of `infra/instance/<place>`, the same names for every place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from nightingale.contract.build import BuildSpec
from nightingale.contract.errors import ErrorCode
from nightingale.contract.vocabulary import Action, Status
from nightingale.domain.build import Build
from nightingale.domain.catalog import Cluster
from nightingale.domain.deadlines import Deadlines
from nightingale.domain.errors import RefusedError
from nightingale.domain.instance import Instance
from nightingale.domain.placement import require_home
from nightingale.services.catalog import CatalogService


class BuildVariables(Protocol):
    """Makes the variables of a build. They carry no secret."""

    def of(self, instance: Instance, *, previous: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the module's variables for the status that the instance has just entered.

        `previous` are those of the build before. Raises RefusedError when the catalogue no longer has what it needs.
        """


class CatalogBuildVariables:
    """Variables from the catalogue as it stands when the build is queued."""

    def __init__(
        self, catalog: CatalogService, networks: Mapping[str, Mapping[str, Any]], images: Mapping[str, str]
    ) -> None:
        """Take, by place, what only that cloud knows (for `local`, the data folder and the launcher) and its image.

        With a network comes `kms_key`, the key of all disks there, where there is one: a variable of its own to the
        module. `images` is what the image reference `default` stands for there.
        """
        self._catalog = catalog
        self._networks = networks
        self._images = images

    def of(self, instance: Instance, *, previous: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the module's variables; what ends a machine keeps what it was built with.

        A size, an image or a dataset that left the catalogue must not keep anyone from stopping or deleting.
        """
        changing = {"desired_state": instance.desired_state.value, "generation": instance.generation}
        is_ending = instance.action in {Action.STOP, Action.DELETE} or instance.moving.is_leaving
        if previous is not None and is_ending:
            return {**previous, **changing}
        cluster = self._catalog.load()
        person = self._catalog.find_person(instance.owner)
        image = cluster.image(instance.image, instance.place)
        container = cluster.container(instance.image, instance.place)
        _require_mounts(cluster, instance)
        require_home(cluster, instance.project, instance.place, instance.mounts)
        network = dict(self._networks.get(instance.place, {}))
        return {
            **changing,
            "instance_id": instance.id,
            "name": instance.name,
            "owner": instance.owner,
            "project": instance.project,
            "machine_type": cluster.machine(instance.place, instance.size),
            "image": self._images.get(instance.place, image) if image == "default" else image,
            "spot": False,
            "root_gib": 0,
            "home_gib": cluster.disk_gib(instance.size),
            "home_snapshot_id": "",
            "datasets": [
                {
                    "dataset": mount.dataset,
                    "version": mount.version,
                    "tier": mount.tier,
                    "source": cluster.dataset_source(mount.dataset, instance.place),
                }
                for mount in instance.mounts
            ],
            "kms_key": network.pop("kms_key", None),
            "tags": {"project": instance.project, "owner": instance.owner, "instance": instance.id},
            "network": {
                **network,
                "owner_uid": person.uid if person is not None else None,
                **({"container": container} if container is not None else {}),
            },
        }


def spec_of(instance: Instance, build: Build, cluster: Cluster, deadlines: Deadlines) -> BuildSpec:
    """Return what the builder is told of the instance's build."""
    # A launch's build runs while the instance is provisioning; every other one while it is what it is now.
    lasts = Status.PROVISIONING if instance.status is Status.REQUESTED else instance.status
    place = cluster.places.get(instance.place)
    return BuildSpec(
        build_id=build.id,
        instance_id=instance.id,
        generation=build.generation,
        action=build.action,
        desired_state=build.desired_state,
        place=place.kind if place is not None else instance.place,
        variables=dict(build.variables),
        timeout_seconds=int(deadlines.of(lasts).total_seconds()),
    )


def _require_mounts(cluster: Cluster, instance: Instance) -> None:
    """Refuse to mount again what the project may no longer mount, or what is no longer what was launched with.

    Without this a stopped instance would outlive the withdrawal of a dataset, or keep a laxer tier than it has now.
    """
    granted = cluster.granted([instance.project])
    for mount in instance.mounts:
        found = granted.get(mount.dataset)
        if found is not None and (found.version, found.tier) == (mount.version, mount.tier):
            continue
        there_is = f"version {found.version} of tier {found.tier}" if found is not None else "none for this project"
        words = f"dataset {mount.dataset} version {mount.version} of tier {mount.tier} left the catalogue"
        raise RefusedError(
            ErrorCode.INVALID,
            f"{words}; there is {there_is}",
            "Ask the administrator for it, or launch a new instance with what there is.",
            details=(("datasets", words),),
        )
