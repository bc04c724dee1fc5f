"""Invented people: names, phones and e-mail addresses, drawn from a seed.

First names come in families (a name and its nickname, as the `nicknames` package knows them) that are not related to
each other, last names are put together from parts, phones use the exchange 555, addresses are at example domains or
the configured school's. Every phone and address is given once. Who is a mentor and who a donor is decided elsewhere.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Final

from mentor_pipeline.simulator.forms import GENDERS
from mentor_pipeline.simulator.records import Address

if TYPE_CHECKING:
    import random

_PAIRS: Final = """
Elizabeth/Beth Margaret/Maggie Jennifer/Jenny Samuel/Sam Thomas/Tom Daniel/Danny Matthew/Matt Michael/Mike
Nicholas/Nick Zachary/Zach Timothy/Tim Andrew/Drew Gregory/Greg Jeffrey/Jeff Kenneth/Ken Patrick/Pat Stephen/Steve
Theodore/Theo Rebecca/Becky Deborah/Debbie Susan/Sue Abigail/Abby Amanda/Mandy Cynthia/Cindy Frances/Fran
Jacqueline/Jackie Jessica/Jess Kimberly/Kim Melissa/Missy Penelope/Penny Teresa/Terry Valerie/Val Vincent/Vinny
Walter/Walt Edward/Eddie Christopher/Chris Anthony/Tony David/Dave Donald/Don Douglas/Doug Gabriel/Gabe Gerald/Jerry
James/Jim Lawrence/Larry Leonard/Len Nathaniel/Nate Philip/Phil Raymond/Ray Richard/Rick Ronald/Ron Russell/Russ
Albert/Al Arthur/Art Caroline/Carrie Catherine/Cathy Emily/Em Isabella/Bella Josephine/Jo Judith/Judy Virginia/Ginny
Winifred/Winnie Harriet/Hattie Florence/Flo Clifford/Cliff Curtis/Curt Eugene/Gene Maxwell/Max Mitchell/Mitch
Oliver/Ollie Wesley/Wes Tobias/Toby Gwendolyn/Gwen Henrietta/Etta Augustus/Gus Sebastian/Seb Constance/Connie
Tabitha/Tabby Prudence/Prue Matilda/Tilly Angelina/Angie Charlotte/Lottie Dominic/Dom Gilbert/Gil Isaac/Ike Jacob/Jake
Marcus/Mark Reginald/Reggie Thaddeus/Thad
"""
NICKNAME_PAIRS: Final = tuple((pair.split("/")[0], pair.split("/")[1]) for pair in _PAIRS.split())
_SINGLE: Final = """
Aaliyah Adrian Aiden Alana Alma Amara Anika Arjun Ashlyn Asher Aubrey Avery Bailey Brianna Brooke Bryson Caleb Camila
Carter Chloe Colin Dahlia Dante Darius Declan Diego Elena Elias Emerson Esme Ethan Evan Faith Finley Fiona Gavin
Gianna Grace Grant Harper Hazel Hudson Imani Ingrid Isla Ivan Ivy Jada Jasmine Jaxon Jordan Julian Kai Kamala Kayla
Keiko Kiara Kofi Lauren Layla Leila Liam Logan Luca Luis Mabel Maeve Malik Marisol Mateo Maya Mei Mila Miles Naomi Nia
Noah Omar Owen Paige Parker Piper Priya Quincy Rafael Reese Riley Rohan Rosa Rowan Ruby Ryan Sage Sawyer Selena Skylar
Sofia Tariq Trinity Tyler Uma Violet Wyatt Ximena Yara Yusuf Zara Zoe
"""
SINGLE_NAMES: Final = tuple(_SINGLE.split())
_ELDER: Final = """
Alfonso Bernice Blanche Boyd Cecil Clara Clyde Dolores Doris Earl Edith Elmer Ernest Estelle Ethel Fern Garland Gladys
Glenn Gordon Harvey Hilda Homer Hubert Inez Irma Irving Lloyd Lois Lorraine Luther Lyle Mavis Merle Myrna Norman Opal
Orville Otis Pearl Phyllis Rex Roland Roscoe Ruth Sherman Thelma Vera Vivian Wanda Warren Wayne Wilma
"""
ELDER_NAMES: Final = tuple(_ELDER.split())
_STARTS: Final = """
Ash Bram Brook Cold Copper Crane Dun Elder Fair Fen Fox Gold Green Hale Hart Hazel Holm Iron Kest Lang Lark Linden Mar
Mill North Oak Pem Quill Raven Red Rook Sandal Silver Stone Thorn Under Wester Whit Wild Win
"""
_ENDS: Final = """
bourne bridge bury combe croft dale field ford grove hurst leigh mere more ridge shaw stead wick wood worth yard
"""
LAST_NAMES: Final = (
    *(start + end for start, end in product(_STARTS.split(), _ENDS.split())),
    *("O'Fenmore", "D'Ashwick", "Dovérin", "Peñamar", "Lindqvåst", "Ashgrove-Thornby", "Van Kestrel", "St. Bramley"),
)
_AREA_CODES: Final = (
    706, 404, 770, 678, 912, 229, 478, 762, 470, 212, 305, 615, 704, 803, 843, 864, 205, 256, 334, 901,
)  # fmt: skip
_LINES: Final = 10_000
_NEVER_GIVEN: Final = 9
"""Last digit that no phone has, but those with a digit mistyped: so that they are nobody's."""
_DOMAINS: Final = ("example.com", "example.org", "example.net", "mail.example.com")
_STREETS: Final = (
    "Maple",
    "Juniper",
    "Orchard",
    "Mill",
    "Prospect",
    "Sycamore",
    "Hillside",
    "River",
    "College",
    "Pine",
)
_CITIES: Final = (
    ("Athens", "GA", "30601"),
    ("Macon", "GA", "31201"),
    ("Augusta", "GA", "30901"),
    ("Savannah", "GA", "31401"),
    ("Greenville", "SC", "29601"),
    ("Chattanooga", "TN", "37402"),
)


@dataclass(slots=True)
class Person:
    """One invented person; `nickname` is None where the first name has none."""

    first: str
    nickname: str | None
    last: str
    phone: str
    email: str
    school_email: str
    gender: str
    middle: str | None = None

    @property
    def full_name(self) -> str:
        """First and last name."""
        return f"{self.first} {self.last}"


class People:
    """Invents people; no two share a phone or an address, and no two students a name, nicknames included."""

    def __init__(self, rng: random.Random, school_domain: str) -> None:
        self._rng = rng
        self._school_domain = school_domain
        numbers = [number for number in range(len(_AREA_CODES) * _LINES) if number % 10 != _NEVER_GIVEN]
        self._phones = iter(rng.sample(numbers, len(numbers)))
        self._serial = 0
        self._students: set[tuple[str, str]] = set()

    def student(self, *, sibling: Person | None = None, with_nickname: bool = False) -> Person:
        """A student whose name no other student has.

        Args:
            sibling: share this student's last name, and none of the initials.
            with_nickname: the first name must have a nickname.
        """
        taken = {name[0] for name in (sibling.first, sibling.nickname) if name} if sibling else set()
        while True:
            if with_nickname or self._rng.random() < 0.5:
                first, nickname = self._rng.choice(NICKNAME_PAIRS)
            else:
                first, nickname = self._rng.choice(SINGLE_NAMES), None
            family = sibling.last if sibling else self._rng.choice(LAST_NAMES)
            if (first, family) not in self._students and taken.isdisjoint((first[0], (nickname or first)[0])):
                break
        self._students.add((first, family))
        person = self._person(first, family)
        person.nickname = nickname
        if self._rng.random() < 0.25:
            person.middle = self._rng.choice(SINGLE_NAMES)
        return person

    def elder(self, *, last: str | None = None) -> Person:
        """Someone of another generation, whose first name is compatible with no student's."""
        return self._person(self._rng.choice(ELDER_NAMES), last or self._rng.choice(LAST_NAMES))

    def _person(self, first: str, last: str) -> Person:
        self._serial += 1
        local = f"{letters(first)}.{letters(last)}"
        return Person(
            first,
            None,
            last,
            self.phone(),
            f"{local}{self._serial}@{_DOMAINS[self._serial % len(_DOMAINS)]}",
            f"{local}.{self._serial}@{self._school_domain}",
            GENDERS[self._serial % len(GENDERS)],
        )

    def phone(self) -> str:
        """A phone that nobody else has, E.164."""
        area, line = divmod(next(self._phones), _LINES)
        return f"+1{_AREA_CODES[area]}555{line:04d}"

    def mistyped(self, phone: str) -> str:
        """A phone with its last digit wrong, which nobody has."""
        return f"{phone[:-1]}{_NEVER_GIVEN}"

    def at_another_domain(self, email: str) -> str:
        """The same first part of an address at another domain."""
        local, _, domain = email.partition("@")
        return f"{local}@{self._rng.choice([other for other in _DOMAINS if other != domain])}"

    def spelled(self, person: Person) -> tuple[str, str]:
        """First and last name as another form wrote them (R1)."""
        plain = "".join(c for c in unicodedata.normalize("NFKD", person.last) if not unicodedata.combining(c))
        return self._rng.choice(
            (
                (person.first.upper(), person.last.upper()),
                (person.first.lower(), plain.lower()),
                (person.first, f"{person.last}-{self._rng.choice(_STARTS.split())}ley"),
                (person.first, f"{person.last} Jr."),
                (f"{person.first} {self._rng.choice(SINGLE_NAMES)[0]}.", person.last),
                (f"{person.first[0]}.", person.last),
                (person.last, person.first),
            )
        )

    def address(self) -> Address:
        """A complete postal address."""
        city, state, postal_code = self._rng.choice(_CITIES)
        flat = f"Apt {self._rng.randint(1, 40)}" if self._rng.random() < 0.2 else None
        street = f"{self._rng.randint(1, 999)} {self._rng.choice(_STREETS)} St"
        return Address(street, city, state, postal_code, flat)


def letters(name: str) -> str:
    """A name as it stands in an e-mail address: lower case, without accents and punctuation."""
    plain = unicodedata.normalize("NFKD", name)
    return "".join(letter for letter in plain.lower() if letter.isascii() and letter.isalpha())
