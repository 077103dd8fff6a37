"""Phone numbers: compared as E.164 with the extension, written in the international form."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from config.formats.form import Format, brief, of_text
from config.words import shown

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

# Nothing is read out of a text that says more than a number: "030 1234 (until 5 pm)" is no phone number.
PLAIN = re.compile(r"(?:tel:)?(\+?[0-9 ()\[\]./\u00a0\u202f\u2010-\u2015\u2212-]+?)(?:EXTENSION([0-9]{1,7}))?".replace(
    "EXTENSION", r"(?:;ext=|[ ,;]*(?:ext(?:ension)?|x|dw|durchwahl|#)[.: ]*)"
), re.IGNORECASE)  # fmt: skip


def phone(name: str, region: str) -> Format:
    """`region`: the country whose numbers may be written without a country code. Raises `ValueError` for others."""
    from phonenumbers import SUPPORTED_REGIONS

    if region not in SUPPORTED_REGIONS:
        hint = f' Write "phone:{region.upper()}".' if region.upper() in SUPPORTED_REGIONS else ""
        raise ValueError(f"{shown(region)} is no ISO code of a country with phone numbers, like phone:DE.{hint}")

    return of_text(name, lambda text: forms(text, region)[0], lambda number: forms(number, region)[1])


@lru_cache(maxsize=8192)  # reading one takes about 0.1 ms, and a number is read and written several times
def forms(text: str, region: str) -> tuple[str, str]:
    """How the number compares, and how it is written. Raises `ValueError`."""
    number = parsed(text, region)
    return canonical(number), tidy(number)


def parsed(text: str, region: str) -> PhoneNumber:
    """The one number that the text is. Raises `ValueError`."""
    from phonenumbers import NumberParseException, ValidationResult, is_possible_number_with_reason, parse

    found = PLAIN.fullmatch(text.strip())
    if not found:
        raise _wrong(text, "is no phone number and nothing else")
    digits, extension = found[1], found[2]
    try:
        number = parse(digits, region)
    except NumberParseException:
        raise _wrong(text, "is no phone number") from None
    if is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        raise _wrong(text, "is no phone number: too few or too many digits")
    if _lacks_prefix(digits, number, region):
        raise _wrong(text, f"begins neither with + nor as a number in {region} does: its area code may be missing")
    for form in (canonical(number), tidy(number)):
        if not _reads_as(form, number):
            raise _wrong(text, "is no phone number: it has no international form")
    number.extension = extension
    return number


def _reads_as(text: str, number: PhoneNumber) -> bool:
    """Whether what is written would be read as this number: a few that no plan of numbers has would not."""
    from phonenumbers import NumberParseException, parse

    try:
        return bool(parse(text) == number)
    except NumberParseException:
        return False


def _lacks_prefix(typed: str, number: PhoneNumber, region: str) -> bool:
    """Whether the 0 before the area code is missing where it is always written: it may be a number inside of a town."""
    from phonenumbers import PhoneNumberFormat, format_number, is_valid_number, ndd_prefix_for_region

    prefix = ndd_prefix_for_region(region, True) or ""
    digits = re.sub("[^0-9]", "", typed)
    if "+" in typed or not prefix.startswith("0") or digits.startswith("0"):
        return False
    # Some are written without it everywhere: 116117 in Germany, 1300 123 456 in Australia.
    usual = re.sub("[^0-9]", "", format_number(number, PhoneNumberFormat.NATIONAL))
    return usual != digits or not is_valid_number(number)


def canonical(number: PhoneNumber) -> str:
    from phonenumbers import PhoneNumberFormat, format_number

    text = format_number(_bare(number), PhoneNumberFormat.E164)
    return f"{text};ext={number.extension}" if number.extension else text


def tidy(number: PhoneNumber) -> str:
    from phonenumbers import PhoneNumberFormat, format_number

    text = format_number(_bare(number), PhoneNumberFormat.INTERNATIONAL)
    return f"{text} ext. {number.extension}" if number.extension else text


def _bare(number: PhoneNumber) -> PhoneNumber:
    from phonenumbers import PhoneNumber

    bare = PhoneNumber()
    bare.merge_from(number)
    bare.extension = None
    return bare


def _wrong(text: str, why: str) -> ValueError:
    return ValueError(f"{brief(text)} {why}")
