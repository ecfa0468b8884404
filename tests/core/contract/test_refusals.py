"""Refusals of msgspec in words: no pattern with a name among the schemas is shown as a pattern."""

import msgspec
import pytest

from nightingale.contract import schemas as s
from nightingale.contract.refusals import in_words


@pytest.mark.parametrize(
    ("wrong", "kind", "said"),
    [
        ({"name": "A"}, s.LaunchIn, "a name is lower case letters, digits and dashes, up to 32, starts with a letter"),
        ({"name": "i-abc"}, s.LaunchIn, "and is no instance id (i-...) - at `$.name`"),
        ({"name": "a", "keys": ["x"]}, s.PersonIn, "a public key is one OpenSSH line"),
        ({"name": "a", "version": " "}, s.DatasetIn, "a version is letters, digits"),
        ({"name": "a", "kind": "moon"}, s.PlaceIn, "the place's kind is local, aws, azure or gcp - at `$.kind`"),
        ({"name": "M", "cores": 1}, s.CpuIn, "a t-shirt size is lower case letters and digits"),
        ({"name": "m", "cores": "1"}, s.CpuIn, "Expected `int`, got `str` - at `$.cores`"),
    ],
)
def test_a_wrong_value_is_told_in_the_contracts_words(wrong: object, kind: type, said: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(wrong, kind)
    words = in_words(str(caught.value))
    assert said in words
    assert "regex" not in words


def test_a_pattern_without_a_name_stays_as_it_is() -> None:
    message = "Expected `str` matching regex '^x$' - at `$.y`"
    assert in_words(message) == message
