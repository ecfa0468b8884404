"""Names that mean no person are given to none, in a new cluster file and in one that was applied before."""

from __future__ import annotations

import msgspec
import pytest

from doubles.platforms import FakePlatform
from nightingale.contract.schemas import PersonIn


@pytest.mark.parametrize("name", ["operator", "gateway", "index", "platform", "root", "unknown"])
def test_a_name_that_the_record_gives_to_no_person_is_refused(name: str) -> None:
    platform = FakePlatform()
    people = (*platform.cluster.people, PersonIn(name=name, keys=(platform.signatures.key(name),)))
    cluster = msgspec.to_builtins(msgspec.structs.replace(platform.cluster, people=people), enc_hook=str)
    for operation, more in (("plan_cluster", {}), ("apply_cluster", {"base": 1})):
        error = platform.error(platform.handle(operation, "hedy", None, {"cluster": cluster} | more))
        assert error["code"] == "invalid"
        assert [detail["path"] for detail in error["details"]] == [f"people[{len(people) - 1}].name"]
        assert "take another" in error["details"][0]["message"]
    assert platform.services.catalog.find_person(name) is None


def test_names_that_only_begin_alike_are_taken() -> None:
    platform = FakePlatform()
    people = (*platform.cluster.people, PersonIn(name="rooth", keys=()), PersonIn(name="gateway-team", keys=()))
    cluster = msgspec.to_builtins(msgspec.structs.replace(platform.cluster, people=people), enc_hook=str)
    assert len(platform.ask("plan_cluster", "hedy", None, {"cluster": cluster})["changes"]) >= 2
