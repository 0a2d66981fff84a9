"""The form of an API key: what can be told without asking anybody."""

from __future__ import annotations

import re

import pytest

from gateway import keys


@pytest.mark.parametrize("mode", ["test", "live"])
def test_a_key_names_its_mode_and_checks_itself(mode: keys.Mode) -> None:
    secret = keys.new_secret(mode)

    assert re.fullmatch(rf"sk_{mode}_[0-9A-Za-z]{{38}}", secret)
    assert keys.is_well_formed(secret)


def test_a_key_with_any_character_mistyped_is_not_well_formed() -> None:
    secret = keys.new_secret("test")

    for place in range(len(secret)):
        other = "1" if secret[place] == "0" else "0"
        assert not keys.is_well_formed(secret[:place] + other + secret[place + 1 :]), place


@pytest.mark.parametrize("changed", ["", " {}", "{} ", "{}\n", "{}0", "Bearer {}"])
def test_a_key_with_anything_added_is_not_well_formed(changed: str) -> None:
    assert not keys.is_well_formed(changed.format(keys.new_secret("test")))


def test_a_key_of_one_mode_cannot_be_turned_into_one_of_the_other() -> None:
    assert not keys.is_well_formed(keys.new_secret("test").replace("sk_test_", "sk_live_"))


def test_the_key_of_the_examples_is_not_well_formed() -> None:
    assert not keys.is_well_formed(keys.EXAMPLE_KEY)


def test_no_two_keys_are_alike() -> None:
    assert len({keys.new_secret("test") for _ in range(1000)}) == 1000
