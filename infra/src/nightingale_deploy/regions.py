"""A platform's further regions: root modules (infra/control-plane/aws/region), each with a state beside the platform's.

    the platform's own module    names the network that the others are peered with
    each region's                makes a network there and asks for the peering
    the platform's again         takes the peering, and learns what was made: routes, policies, what functions are told

The third is the first of the next time, so it is done only where something is new.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from nightingale_deploy.account import Account
from nightingale_deploy.choices import Choices, Region
from nightingale_deploy.consent import ask, say
from nightingale_deploy.refusal import DeployError
from nightingale_deploy.terraform import Workspace

FOLDER = "control-plane/regions/"
_SUFFIX = ".tfstate"
_NOWHERE = {"region": "-", "vpc_id": "-", "cidrs": ["192.0.2.0/24"], "api_hosts": [], "flows_role": "-"}
"""What a region that goes is told of the platform: nothing of it is made any more."""


class Regions:
    """The further regions of one platform, as chosen and as made."""

    def __init__(self, account: Account, bucket: str, choices: Choices, prepare: Callable[[str], Workspace]) -> None:
        """Take the account, where states are kept, what was chosen, and what makes a region's folder by its name."""
        self._account = account
        self._bucket = bucket
        self._choices = choices
        self._prepare = prepare
        self._chosen = {one.name: one for one in choices.regions}

    def there(self) -> list[str]:
        """Return the regions in which a state says that something is there, by name. Raises DeployError."""
        keys = self._account.keys(self._bucket, FOLDER)
        names = [key.removeprefix(FOLDER).removesuffix(_SUFFIX) for key in keys if key.endswith(_SUFFIX)]
        return sorted(name for name in names if self._state(name).get("resources"))

    def known(self) -> dict[str, dict[str, Any]]:
        """Return what the platform's own module is told of each chosen region that is made. Raises DeployError."""
        found = {}
        for name, region in self._chosen.items():
            made = self._state(name).get("outputs", {}).get("made")
            if made is not None:
                found[name] = {**made["value"], **region.place}
        return found

    def deploy(
        self, apply_home: Callable[[Mapping[str, Any]], tuple[bool, dict[str, Any]]], *, is_sure: bool, is_dry: bool
    ) -> tuple[bool, dict[str, Any]]:
        """Bring the platform's own region up, then the others; return whether anything changes, and its outputs.

        `apply_home` is told what is known of the further regions and returns the same two. Raises DeployError.
        """
        self.refuse_where_people_live()
        known = self.known()
        is_changed, told = apply_home(known)
        if "for_regions" in told:
            is_changed |= self.bring_up(told["for_regions"], is_sure=is_sure, is_dry=is_dry)
            is_changed |= self.end_others(is_sure=is_sure, is_dry=is_dry)
        elif self._chosen:
            say("deploy: networks in further regions are planned once the platform's own is there")
        if is_dry or (now_known := self.known()) == known:
            return is_changed, told
        say("deploy: what was made in further regions is told to the platform")
        _, told = apply_home(now_known)
        return True, told

    def refuse_where_people_live(self) -> None:
        """Refuse to end a region that is no longer chosen while homes lie there. Raises DeployError."""
        for name in self._ending():
            if homes := Account(name).homes_of(self._choices.name):
                few = ", ".join(homes[:5]) + (" ..." if len(homes) > 5 else "")  # noqa: PLR2004 - as many as a line takes
                raise DeployError(
                    f"{name} is no longer in the settings, and {len(homes)} instances have disks there: {few}",
                    "delete them first (`nightingale ps -a` shows where each is), or put the region back",
                )

    def bring_up(self, home: Mapping[str, Any], *, is_sure: bool, is_dry: bool) -> bool:
        """Make each chosen region as it should be; return whether anything changes. Raises DeployError."""
        is_changed = False
        for name, region in self._chosen.items():
            say(f"deploy: the network in {name}")
            work = self._ready(name, {**self._of(region), "home": dict(home)})
            if work.plan():
                is_changed = True
                if not is_dry:
                    ask(f"Apply this plan in {name}?", is_sure=is_sure)
                    work.apply_plan()
        return is_changed

    def end_others(self, *, is_sure: bool, is_dry: bool) -> bool:
        """Take down each region that is no longer chosen; return whether there is one. Raises DeployError."""
        ending = self.plan_ends(self._ending())
        for name, work in ending.items():
            if not is_dry:
                ask(f"Take down the network in {name}?", is_sure=is_sure)
                work.apply_plan()
        return bool(ending)

    def plan_ends(self, names: list[str]) -> dict[str, Workspace]:
        """Show what goes in these regions, and return by name what carries it out. Raises DeployError."""
        ending = {}
        for name in names:
            say(f"{name}: the network goes")
            told = {"name": self._choices.name, "region": name, "zone": f"{name}a", "cidr": "192.0.0.0/20"}
            ending[name] = self._ready(name, {**told, "home": _NOWHERE})
            ending[name].plan("-destroy")
        return ending

    def _ending(self) -> list[str]:
        return [name for name in self.there() if name not in self._chosen]

    def _of(self, region: Region) -> dict[str, Any]:
        days = {name: value for name, value in self._choices.variables.items() if name == "log_days"}
        return {**region.variables, **days, "name": self._choices.name}

    def _ready(self, name: str, variables: Mapping[str, Any]) -> Workspace:
        work = self._prepare(name)
        work.tell(variables)
        work.init(self._bucket, self._choices.region, f"{FOLDER}{name}{_SUFFIX}")
        return work

    def _state(self, name: str) -> dict[str, Any]:
        """Return a region's state, an empty one where there is none."""
        found = self._account.find_object(self._bucket, f"{FOLDER}{name}{_SUFFIX}")
        state: dict[str, Any] = json.loads(found) if found is not None else {}
        return state
