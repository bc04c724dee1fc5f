"""Where a contact's page is in Givebutter: a link beside whoever is in the way.

The address holds the number of the organisation's account, which no API tells; the year file may give it as
`givebutter.account_id`. Without it contacts are named by their id alone, and nothing is linked.
"""

from __future__ import annotations

import polars as pl


def page(contact_id: int, account_id: int | None) -> str | None:
    """Address of a contact's page; None without an account."""
    return None if account_id is None else f"{_pages(account_id)}{contact_id}"


def with_page(text: pl.Expr, contact_id: pl.Expr, account_id: int | None) -> pl.Expr:
    """The text, and the address of the contact's page after it, where there is a contact."""
    if account_id is None:
        return text
    linked = pl.format(f"{{}} See {_pages(account_id)}{{}} .", text, contact_id)
    return pl.when(contact_id.is_null()).then(text).otherwise(linked)


def contact_and_page(contact_id: pl.Expr, account_id: int | None) -> pl.Expr:
    """`contact 7`, with the address of its page where it can be known."""
    named = pl.format("contact {}", contact_id)
    return named if account_id is None else pl.format(f"{{}} ({_pages(account_id)}{{}})", named, contact_id)


def _pages(account_id: int) -> str:
    return f"https://dashboard.givebutter.com/accounts/{account_id}/contacts/"
