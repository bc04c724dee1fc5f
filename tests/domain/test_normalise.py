"""R1: phones, e-mails and mentor ids, one value at a time and whole columns."""

from __future__ import annotations

import random

import phonenumbers
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mentor_pipeline.domain.normalise import (
    Phone,
    clean_text,
    comparable_mn_id,
    comparable_mn_ids,
    email_by_library,
    emails,
    is_school_email,
    normalise_email,
    normalise_mn_id,
    normalise_phone,
    phone_by_library,
    phones,
)
from tests.domain.generated import SIGNUPS, tables_of_world

PHONE = "+17065550142"
TYPES = sorted(set(phonenumbers.PhoneNumberType.values()) - {phonenumbers.PhoneNumberType.UNKNOWN})
EXAMPLES = sorted(
    {
        phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        for region in phonenumbers.SUPPORTED_REGIONS
        for type_ in TYPES
        if (number := phonenumbers.example_number_for_type(region, type_))
    }
)
"""Every kind of number of every region, as phonenumbers itself gives it."""
US_EXAMPLES = [e164[2:] for e164 in EXAMPLES if e164.startswith("+1") and len(e164) == 12]


# -- phones ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "typed",
    [
        "7065550142",
        "706-555-0142",
        "(706) 555-0142",
        "(706)5550142",
        "706.555.0142",
        "  706 555 0142 ",
        "1 706 555 0142",
        "+1 (706) 555-0142",
        "tel:+1-706-555-0142",
        "７０６５５５０１４２",
        "706\u2011555\u20110142",
    ],
)
def test_a_us_number_in_any_spelling_is_one_number(typed: str):
    assert normalise_phone(typed) == (PHONE, None, "")


def test_the_ranges_kept_free_for_fiction_pass():
    assert normalise_phone("202-555-0199") == ("+12025550199", None, "")


@pytest.mark.parametrize(
    "typed",
    [
        "706-555-0142 (cell)",
        "7065550142 call after 5",
        "706-555-0142 ext. 5",
        "706-555-0142x5",
        "cell: 706-555-0142",
        "7065550142.0",
        "17065550142.0",
        "(706) 555-0142.0",
        "706-555-0142 or 706-555-0199",
        "7065550142 7065550199",
        "7065550142/7065550199",
        "706 555 0142 706 555 0199",
        "706-555-0142\n706-555-0199",
        "706-555-0142 2025-10-01",
        "+1 706 555 0142 123",
    ],
)
def test_what_holds_more_than_a_number_gives_the_first_clear_one_and_a_warning(typed: str):
    phone = normalise_phone(typed)
    assert (phone.e164, phone.fault) == (PHONE, "unusual_value")
    assert phone.note


def test_of_a_document_in_place_of_a_phone_the_beginning_is_read():
    phone = normalise_phone("706-555-0142 " * 100_000)
    assert (phone.e164, phone.fault) == (PHONE, "unusual_value")
    assert len(phone.note) < 250
    assert normalise_phone(f"{'word ' * 100}706-555-0142").e164 is None


def test_one_number_written_twice_is_not_two_numbers():
    assert "several" not in normalise_phone("7065550142 / (706) 555-0142").note
    assert "several" in normalise_phone("7065550142 / (706) 555-0199").note


@pytest.mark.parametrize(
    "typed",
    [
        "n/a",
        "ask my roommate",
        "12345",
        "555-0142",
        "706555014",
        "706555014.0",
        "1-800-FLOWERS",
        "706-555-CALL",
        "706555O142",
        "2.1E9",
        "70655501427065550",
        "+1706555014",
        "020 7946 0958",
        "+447065550142999",
    ],
)
def test_what_holds_no_possible_number_is_null_and_an_error(typed: str):
    phone = normalise_phone(typed)
    assert (phone.e164, phone.fault) == (None, "invalid_phone")
    assert typed in phone.note


@pytest.mark.parametrize("typed", ["1234567890", "0000000000"])
def test_a_possible_number_of_no_range_in_use_is_kept_with_a_warning(typed: str):
    assert normalise_phone(typed)[:2] == (f"+1{typed}", "unusual_value")


@pytest.mark.parametrize("typed", ["+44 20 7946 0958", "+44 (0)20 7946 0958", "+442079460958", "011 44 20 7946 0958"])
def test_a_foreign_number_is_kept_when_written_with_its_country(typed: str):
    assert normalise_phone(typed).e164 == "+442079460958"


@pytest.mark.parametrize("typed", [None, "", "   ", "\u00a0"])
def test_no_phone_is_no_fault(typed: str | None):
    assert normalise_phone(typed) == (None, None, "")


@pytest.mark.parametrize("written", ["E164", "INTERNATIONAL", "RFC3966"])
def test_every_example_of_phonenumbers_is_read_in_every_spelling(written: str):
    def read(e164: str) -> str | None:
        number = phonenumbers.parse(e164)
        return normalise_phone(
            phonenumbers.format_number(number, getattr(phonenumbers.PhoneNumberFormat, written))
        ).e164

    possible = [
        e164
        for e164 in EXAMPLES
        if phonenumbers.is_possible_number_with_reason(phonenumbers.parse(e164))
        == phonenumbers.ValidationResult.IS_POSSIBLE
    ]
    assert len(possible) > 900
    assert [e164 for e164 in possible if read(e164) != e164] == []


@pytest.mark.parametrize(
    "pattern",
    ["{}", "({0:.3}) {1}", "1{}", "+1 {}", "{} (cell)", "{}.0", "{} ext. 5"],
)
def test_every_us_example_is_read_as_people_type_it(pattern: str):
    for e164 in EXAMPLES:
        number = phonenumbers.parse(e164)
        if number.country_code == 1 and phonenumbers.region_code_for_number(number) == "US":
            digits = str(number.national_number)
            typed = f"({digits[:3]}) {digits[3:]}" if "0:" in pattern else pattern.format(digits)
            assert normalise_phone(typed).e164 == e164, typed


ODD_PHONES = st.one_of(
    st.none(),
    st.text(max_size=25),
    st.text(alphabet="0123456789+()-. x/", max_size=24),
    st.from_regex(r"\A\+1[2-9][0-9]{9}\Z"),
    st.from_regex(r"\A\(?[2-9][0-9]{2}\)?[ .-]?[0-9]{3}[ .-]?[0-9]{4}( \(cell\)|\.0| ext 5)?\Z"),
    st.sampled_from(EXAMPLES),
)


@given(st.lists(ODD_PHONES, max_size=12))
@example(["+17065550142\n", "+1706555014２", ""])
def test_a_column_of_phones_is_each_phone(typed: list[str | None]):
    column = phones(pl.Series("phone", typed, dtype=pl.String))
    assert column.to_list() == [normalise_phone(text).e164 for text in typed]
    assert column.name == "phone"


@given(ODD_PHONES)
def test_what_was_read_reads_as_itself(typed: str | None):
    e164 = normalise_phone(typed).e164
    assert normalise_phone(e164).e164 == e164


@pytest.mark.parametrize("typed", ["706.555.0000", "(706) 555.0000", "+1(706)555.0000", "706 555.0000", "706555.0000"])
def test_a_number_that_ends_in_zeros_is_no_sum_of_a_spreadsheet(typed: str):
    assert normalise_phone(typed).e164 == phone_by_library(typed).e164 == "+17065550000"


# -- e-mails -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        (" Ada.Alder@Example.COM ", "ada.alder@example.com"),
        ("ada+run@example.org", "ada+run@example.org"),
        ("O'Neil@example.org", "o'neil@example.org"),
        ("ada@mail.dept.example.edu", "ada@mail.dept.example.edu"),
        ("ÖÑ@example.com", "öñ@example.com"),
    ],
)
def test_an_address_is_trimmed_and_lower_case(typed: str, address: str):
    assert normalise_email(typed) == address


@pytest.mark.parametrize(
    "typed",
    [
        "ada",
        "ada@",
        "@example.com",
        "ada@example",
        "ada at example.com",
        "ada@@example.com",
        "ada..alder@example.com",
        ".ada@example.com",
        "ada@example..com",
        "ada@-example.com",
        "a b@example.com",
        "ada@example.com, ben@example.com",
        "ada@printer.local",
        f"{'a' * 250}@example.com",
        "",
        None,
    ],
)
def test_what_is_no_address_is_null(typed: str | None):
    assert normalise_email(typed) is None


_LABEL = st.text(alphabet="abcXYZ019-_. +'é", max_size=9)
ODD_EMAILS = st.one_of(
    st.none(),
    st.text(max_size=20),
    st.emails(),
    st.builds(
        "{}@{}.{}".format, _LABEL, _LABEL, st.sampled_from(["com", "local", "test", "arpa", "invalid", "c", "9"])
    ),
    st.builds("{}@example.com".format, st.text(alphabet="ab.", min_size=55, max_size=70)),
)


@given(st.lists(ODD_EMAILS, max_size=12))
@example(["a@b.local", "A@B.COM", " a@b.co\n", f"{'a' * 64}@b.co", f"{'a' * 65}@b.co", "a@xn--b.com"])
def test_a_column_of_addresses_is_each_address(typed: list[str | None]):
    column = emails(pl.Series("email", typed, dtype=pl.String))
    assert column.to_list() == [normalise_email(text) for text in typed]


@given(ODD_EMAILS)
def test_an_address_reads_as_itself(typed: str | None):
    address = normalise_email(typed)
    assert normalise_email(address) == address


@pytest.mark.parametrize(
    ("address", "is_school"),
    [
        ("ada@uga.edu", True),
        ("ada@my.UGA.edu", True),
        ("ada@notuga.edu", False),
        ("uga.edu@example.com", False),
        ("ada@uga.edu.example.com", False),
    ],
)
def test_a_school_address_is_on_a_school_domain_or_below(address: str, is_school: bool):
    assert is_school_email(address, ["Uga.edu"]) == is_school


# -- the libraries' own reading ----------------------------------------------------------------------------------------


def _damaged(chance: random.Random, text: str, extra: str) -> str:
    """The text with up to two characters left out, put in or replaced."""
    for _ in range(chance.choice((0, 0, 1, 2))):
        at = chance.randrange(len(text) + 1)
        text = text[:at] + chance.choice(("", chance.choice(extra))) + text[at + chance.choice((0, 1)) :]
    return text


def _a_phone(chance: random.Random) -> str:
    digits = chance.choice(("".join(chance.choices("0123456789", k=10)), chance.choice(US_EXAMPLES)))
    mark = chance.choice(("", "", "-", " ", "."))
    area = chance.choice((f"{digits[:3]}{mark}", f"({digits[:3]}) ", f"({digits[:3]})"))
    country = chance.choice(("", "", "", "1", "+1", "1-", "+1 ", "011 ", "+"))
    typed = f"{country}{area}{digits[3:6]}{mark}{digits[6:]}"
    return _damaged(chance, typed, "0123456789-. ()+/x,;:*#e\n\x00\u0660\u2011\uff12")


def _an_address(chance: random.Random) -> str:
    def word(longest: int) -> str:
        return "".join(chance.choices("abcxyzQZ019", k=chance.randint(1, longest)))

    local = chance.choice(("", ".", "_", "+", "-")).join(word(9) for _ in range(chance.randint(1, 3)))
    local *= chance.choice((1,) * 20 + (4, 8, 12))
    ending = chance.choice(
        ("com", "com", "edu", "org", "co", "c", "local", "test", "invalid", "arpa", "onion", "x9", "xn--p1ai")
    )
    domain = ".".join([*(word(8) for _ in range(chance.randint(1, 3))), ending])
    return _damaged(chance, f"{local}@{domain}", "abz.-_+@ '\"<>,\n\x00éÖß\u0130\u200b\u212a\ufb01\uff19")


PARTS, IN_A_PART = 10, 100_000
"""A million of each."""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(PARTS))
def test_a_hundred_thousand_phones_are_read_as_the_library_reads_them(seed: int):
    chance = random.Random(seed)  # noqa: S311 - the same values every time
    typed = [_a_phone(chance) for _ in range(IN_A_PART)]
    read = [phone_by_library(trimmed) if (trimmed := clean_text(text)) else Phone(None) for text in typed]
    assert list(map(normalise_phone, typed)) == read
    assert phones(pl.Series(typed)).to_list() == [phone.e164 for phone in read]
    assert len({phone.e164 for phone in read}) > IN_A_PART / 4
    assert sum(phone.e164 is None for phone in read) > IN_A_PART / 10


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(PARTS))
def test_a_hundred_thousand_addresses_are_read_as_the_library_reads_them(seed: int):
    chance = random.Random(seed)  # noqa: S311 - the same values every time
    typed = [_an_address(chance) for _ in range(IN_A_PART)]
    read = [email_by_library(trimmed) if (trimmed := clean_text(text)) else None for text in typed]
    assert list(map(normalise_email, typed)) == read
    assert emails(pl.Series(typed)).to_list() == read
    assert len(set(read)) > IN_A_PART / 4
    assert sum(address is None for address in read) > IN_A_PART / 10


# -- mentor ids --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "typed", ["0042", "MN0042", "mn 0042", "#0042", "MN-0042", "MN#0042", "# mn - 0042 ", "MN\u20130042", "００４２"]
)
def test_a_mentor_id_keeps_its_digits_with_their_zeros(typed: str):
    assert normalise_mn_id(typed) == "0042"


@pytest.mark.parametrize("typed", ["UGA-0042", "uga-MN0042", "MN0042", "Uga-#42"])
def test_the_years_prefix_goes_first_in_any_case(typed: str):
    assert comparable_mn_id(normalise_mn_id(typed, "UGA-") or "") == "42"


@pytest.mark.parametrize("typed", ["", None, "MN", "none", "42a", "4 2", "MN42MN", "42.0", "-", "n/a", "UGA42"])
def test_what_is_no_mentor_id_is_null(typed: str | None):
    assert normalise_mn_id(typed) is None


def test_ids_are_compared_without_leading_zeros():
    assert [comparable_mn_id(mn_id) for mn_id in ("0042", "42", "000", "0")] == ["42", "42", "0", "0"]


@given(st.lists(st.one_of(st.none(), st.text(alphabet="0123456789", min_size=1, max_size=6))))
def test_a_column_of_ids_is_compared_like_each(mn_ids: list[str | None]):
    frame = pl.DataFrame({"mn_id": mn_ids}, schema={"mn_id": pl.String})
    compared = frame.select(comparable_mn_ids("mn_id")).to_series().to_list()
    assert compared == [mn_id and comparable_mn_id(mn_id) for mn_id in mn_ids]


# -- text, and all of it together --------------------------------------------------------------------------------------


@given(st.one_of(st.none(), st.text()))
def test_clean_text_is_trimmed_and_never_blank(text: str | None):
    clean = clean_text(text)
    assert clean is None or (clean == " ".join(clean.split()) != "")
    assert clean_text(clean) == clean


def test_case_is_kept_and_white_space_collapsed():
    assert clean_text("  de  la\tCRUZ\n") == "de la CRUZ"


def test_a_generated_years_phones_and_addresses_read_as_its_truth_says():
    tables = tables_of_world(mentors=400, contacts=1500)
    signups = {row["submission_id"]: row for row in tables.forms[SIGNUPS].iter_rows(named=True)}
    faults = {"bad_phone": "invalid_phone", "odd_phone": "unusual_value"}
    flaws = set()
    for submission_id, truth in tables.world.truth.items():
        row = signups[submission_id]
        flaws |= set(truth.flaws)
        assert normalise_phone(row["phone_raw"]).fault == next(map(faults.get, truth.flaws), None), row["phone_raw"]
        assert (normalise_email(row["personal_email"]) is None) == ("bad_email" in truth.flaws)
    assert flaws >= {"bad_phone", "odd_phone", "bad_email"}
