"""Tracking numbers derive from the sale and are no real carrier's."""

import pytest

from sandbox.numbers import luhn_digit, tracking_number


@pytest.mark.parametrize(("digits", "check"), [("7992739871", "3"), ("411111111111111", "1"), ("0", "0"), ("18", "2")])
def test_the_luhn_digit_is_the_published_one(digits: str, check: str) -> None:
    assert luhn_digit(digits) == check


def test_every_tracking_number_passes_the_luhn_check_and_is_no_real_carriers() -> None:
    def passes_luhn(digits: str) -> bool:
        total = 0
        for position, digit in enumerate(reversed(digits)):
            value = int(digit) * (2 if position % 2 else 1)
            total += value - 9 if value > 9 else value
        return total % 10 == 0

    for number in (tracking_number(f"shp_{n}-1") for n in range(200)):
        assert number.startswith("SKTT")
        assert len(number) == 21
        assert passes_luhn(number[4:])


def test_every_sale_of_a_reference_has_a_number_of_its_own_and_always_the_same() -> None:
    numbers = [tracking_number("shp_1-1", sale) for sale in (1, 2, 3)]

    assert len(set(numbers)) == 3
    assert numbers[0] == tracking_number("shp_1-1")
    assert numbers == [tracking_number("shp_1-1", sale) for sale in (1, 2, 3)]
