"""A working day of the two offices, made up from the seed: who does what to which record, and when.

Most of it is ordinary: a phone number here, a price there. Sprinkled in are the moments that a reconciler is for: both
offices change the same thing at the same time, type the same new customer twice, or edit what the other one owns.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from agent.demo import names
from agent.demo.office import Office
from agent.demo.world import Company, Keys, World, crm_line, erp_line

FULL_DAY = 20.0  # seconds for which the numbers below are made
MOST = 6  # a longer day than so many full ones has no more in it: nobody is to run out of customers


@dataclass
class Offices:
    """Both offices, and the longest time by which one of two people is later when they act "at the same time"."""

    crm: Office
    erp: Office
    pause: float = 1.0

    def __getitem__(self, system: str) -> Office:
        return self.crm if system == "crm" else self.erp


Action = Callable[[Offices], Any]


def schedule(world: World, seed: int, seconds: float) -> list[tuple[float, Action]]:
    """What happens, in order: (seconds since the start, action). The same for the same world, seed and length."""
    return _Day(world, seed, seconds).plan()


class _Day:
    def __init__(self, world: World, seed: int, seconds: float) -> None:
        self.world, self.seconds = world, seconds
        self.random = random.Random(f"{seed}:day")
        self.customers = self.fresh(world.customers)
        self.products, self.orders = self.fresh(world.products), self.fresh(world.orders)
        self.strangers = iter(world.strangers)
        self.numbers = iter(range(30_000, 40_000))

    def fresh(self, records: list[Keys]) -> Iterator[Keys]:
        """Records in an order of this day's own; each is handed out once, so that stories do not mix."""
        return iter(self.random.sample(records, len(records)))

    def plan(self) -> list[tuple[float, Action]]:
        actions = [action for many, make in self.programme() for action in self.several(many, make)]
        self.random.shuffle(actions)
        # The last tenth is free, so that the last save is over before the day is.
        times = sorted(self.random.uniform(0, self.seconds * 0.9) for _ in actions)
        return list(zip(times, actions, strict=True))

    def programme(self) -> list[tuple[int, Callable[[], Action]]]:
        """How often what happens on a full day."""
        usual = self.random.sample(self.world.buyers, 12)
        stages = [next(self.orders) for _ in range(10)]
        return [
            (40, lambda: self.phone(self.random.choice(usual))),
            (24, self.city), (20, self.stage_of(stages)), (16, self.price), (10, self.rename), (12, self.quantity),
            (8, self.points), (8, self.newcomer), (10, self.sale), (3, self.line_removed), (4, self.credit_granted),
            (6, self.same_phone), (2, self.same_city), (3, self.same_points), (2, self.same_terms),
            (3, self.same_newcomer), (3, self.name_in_erp), (3, self.credit_in_crm), (3, self.deactivated),
            (2, self.deleted), (1, self.deleted_and_edited),
        ]  # fmt: skip

    def several(self, many: int, make: Callable[[], Action]) -> list[Action]:
        return [make() for _ in range(max(1, round(many * min(self.seconds / FULL_DAY, MOST))))]

    # --- ordinary work ------------------------------------------------------------------------------------------
    def who(self, system: str) -> str:
        return self.random.choice(names.CRM_PEOPLE if system == "crm" else names.ERP_PEOPLE)

    def side(self) -> str:
        return self.random.choice(("crm", "erp"))

    def edit(self, system: str, record: Keys, crm: tuple[str, str], erp: tuple[str, str], value: Any) -> Action:
        """One person changes one column; `crm` and `erp` are (table, column) there."""
        who = self.who(system)
        table, column = crm if system == "crm" else erp
        key = record[0] if system == "crm" else record[1]
        return lambda offices: offices[system].change(who, table, key, **{column: value})

    def number(self) -> str:
        return f"+49 30 {self.random.randrange(2_000_000, 9_999_999)}"

    def phone(self, record: Keys) -> Action:
        return self.edit(self.side(), record, ("accounts", "phone_office"), ("party", "phone"), self.number())

    def city(self) -> Action:
        value = self.random.choice(names.CITIES)[0]
        record = next(self.customers)
        return self.edit(self.side(), record, ("accounts", "billing_address_city"), ("party", "city"), value)

    def stage_of(self, orders: list[Keys]) -> Callable[[], Action]:
        def make() -> Action:
            stage = self.random.choice(("confirmed", "packed", "shipped", "invoiced"))
            return self.edit(self.side(), self.random.choice(orders), ("orders", "stage"), ("sale", "state"), stage)

        return make

    def price(self) -> Action:
        value = self.random.randrange(300, 60_000) / 100
        return self.edit("erp", next(self.products), ("products", "price"), ("item", "list_price"), value)

    def rename(self) -> Action:
        record = next(self.customers)
        return partial(_rename, system="crm", who=self.who("crm"), key=record[0], new=lambda name: f"{name} Group")

    def quantity(self) -> Action:
        record = self.random.choice(self.world.lines[: len(self.world.lines) // 2])
        value = self.random.randrange(20, 40)
        return self.edit(self.side(), record, ("order_lines", "qty"), ("sale_line", "quantity"), value)

    def line_removed(self) -> Action:
        record, system = self.random.choice(self.world.lines[len(self.world.lines) // 2 :]), self.side()
        who = self.who(system)
        if system == "crm":
            return lambda offices: offices.crm.remove(who, "order_lines", record[0])
        return lambda offices: offices.erp.remove(who, "sale_line", record[1])

    def credit_granted(self) -> Action:
        value = self.random.choice((7500, 15_000, 40_000))
        places = (("accounts", "credit_limit_c"), ("party", "credit_limit"))
        return self.edit("erp", next(self.customers), *places, value)

    def points(self) -> Action:
        record, system, more = next(self.customers), self.side(), self.random.randrange(5, 60, 5)
        return partial(_add_points, system=system, who=self.who(system), record=record, more=more)

    def newcomer(self) -> Action:
        company, system = next(self.strangers), self.side()
        return partial(_enter, system=system, who=self.who(system), company=company)

    def sale(self) -> Action:
        """A new order with its lines, saved at once."""
        system = self.side()
        who, number = self.who(system), f"{system[0].upper()}-{next(self.numbers)}"
        buyer = self.random.choice(self.world.buyers)
        chosen = self.random.sample(self.world.products, self.random.randrange(1, 4))
        lines = [(product, self.random.randrange(1, 9)) for product in chosen]
        save = _order_in_crm if system == "crm" else _order_in_erp
        return partial(save, who=who, number=number, buyer=buyer, lines=lines)

    # --- what the other office owns -----------------------------------------------------------------------------
    def name_in_erp(self) -> Action:
        record = next(self.customers)
        return partial(_rename, system="erp", who=self.who("erp"), key=record[1], new=str.upper)

    def credit_in_crm(self) -> Action:
        places = (("accounts", "credit_limit_c"), ("party", "credit_limit"))
        return self.edit("crm", next(self.customers), *places, 99_000)

    # --- customers given up -------------------------------------------------------------------------------------
    def deactivated(self) -> Action:
        who, record = self.who("erp"), next(self.customers)
        return lambda offices: offices.erp.change(who, "party", record[1], active=0)

    def deleted(self) -> Action:
        who, record = self.who("crm"), next(self.customers)
        return lambda offices: offices.crm.change(who, "accounts", record[0], deleted=1)

    # --- the same thing at the same time ------------------------------------------------------------------------
    def together(self, in_crm: Action, in_erp: Action) -> Action:
        """Two people save at nearly the same moment, neither having seen what the other did."""
        late = self.side()
        gap = self.random.choice((0.0, 0.2, 0.3, 0.5, 0.8))
        return partial(_together, first=in_crm if late == "erp" else in_erp,
                       second=in_erp if late == "erp" else in_crm, late=late, gap=gap)  # fmt: skip

    def both(self, crm: tuple[str, str], erp: tuple[str, str], values: tuple[Any, Any]) -> Action:
        record = next(self.customers)
        return self.together(*(self.edit(s, record, crm, erp, v) for s, v in zip(("crm", "erp"), values, strict=True)))

    def same_phone(self) -> Action:
        return self.both(("accounts", "phone_office"), ("party", "phone"), (self.number(), self.number()))

    def same_city(self) -> Action:
        return self.both(("accounts", "billing_address_city"), ("party", "city"), ("Wien", "Graz"))

    def same_terms(self) -> Action:
        return self.both(("accounts", "payment_days_c"), ("party", "terms_days"), (60, 10))

    def same_points(self) -> Action:
        record, more = next(self.customers), self.random.sample(range(5, 60, 5), 2)
        crm = partial(_add_points, system="crm", who=self.who("crm"), record=record, more=more[0])
        return self.together(crm, partial(_add_points, system="erp", who=self.who("erp"), record=record, more=more[1]))

    def same_newcomer(self) -> Action:
        """The same new customer is typed in both offices; only the e-mail says that it is one."""
        company = next(self.strangers)
        crm = partial(_enter, system="crm", who=self.who("crm"), company=company, vat_c="", phone_office="")
        return self.together(crm, partial(_enter, system="erp", who=self.who("erp"), company=company))

    def deleted_and_edited(self) -> Action:
        record, number = next(self.customers), self.number()
        deleter, editor = self.who("crm"), self.who("erp")
        return self.together(
            lambda offices: offices.crm.change(deleter, "accounts", record[0], deleted=1),
            lambda offices: offices.erp.change(editor, "party", record[1], phone=number),
        )


def _new_id(text: str) -> str:
    """A key as the CRM's application makes it, but the same for the same story."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, text))


def _together(offices: Offices, first: Action, second: Action, late: str, gap: float) -> None:
    """The later one already has the record open (its database locked for writing) when the earlier one saves.

    So nothing that the earlier one saved can have reached the later one's screen: the edits are truly concurrent.
    """
    with ExitStack() as held:
        held.enter_context(offices[late].saving())
        first(offices)
        time.sleep(gap * offices.pause)
        second(offices)


def _rename(offices: Offices, system: str, who: str, key: str | int, new: Callable[[str], str]) -> None:
    office, table = offices[system], "accounts" if system == "crm" else "party"
    with office.saving():
        row = office.row(table, key)
        if row is not None:
            office.change(who, table, key, name=new(row["name"]))


def _add_points(offices: Offices, system: str, who: str, record: Keys, more: int) -> None:
    office = offices[system]
    table, column, key = (
        ("accounts", "bonus_points_c", record[0]) if system == "crm" else ("party", "points", record[1])
    )
    with office.saving():
        row = office.row(table, key)
        if row is not None:
            office.change(who, table, key, **{column: row[column] + more})


def _enter(offices: Offices, system: str, who: str, company: Company, **different: Any) -> None:
    if system == "crm":
        row = {
            "id": _new_id(company.email), "name": company.name, "phone_office": company.phone,
            "email1": company.email, "vat_c": company.vat, "billing_address_city": company.city,
            "credit_limit_c": company.credit, "payment_days_c": company.terms, "assigned_user": who,
        }  # fmt: skip
        offices.crm.enter(who, "accounts", row | different)
    else:
        row = {
            "name": company.name, "tax_code": company.vat, "phone": company.phone, "email": company.email,
            "city": company.city, "credit_limit": company.credit, "terms_days": company.terms, "active": 1,
        }  # fmt: skip
        offices.erp.enter(who, "party", row | different)


def _order_in_crm(offices: Offices, who: str, number: str, buyer: Keys, lines: list[tuple[Keys, int]]) -> None:
    """The CRM knows prices from its own product list."""
    office = offices.crm
    today = office.now()[:10]
    with office.saving():
        head = {"number": number, "account_id": buyer[0], "stage": "draft", "date_ordered": today, "note": "by phone"}
        order = str(office.enter(who, "orders", {"id": _new_id(number), **head}))
        for position, (product, quantity) in enumerate(lines, 1):
            price = (office.row("products", product[0]) or {"price": 0})["price"]
            row = crm_line(order, position, product[0], quantity, price)
            office.enter(who, "order_lines", {"id": _new_id(f"{number}/{position}"), **row})


def _order_in_erp(offices: Offices, who: str, number: str, buyer: Keys, lines: list[tuple[Keys, int]]) -> None:
    office = offices.erp
    today = office.now()[:10]
    with office.saving():
        head = {"reference": number, "party": buyer[1], "state": "draft", "sale_date": today}
        sale = int(office.enter(who, "sale", head))
        for position, (product, quantity) in enumerate(lines, 1):
            price = (office.row("item", product[1]) or {"list_price": 0})["list_price"]
            office.enter(who, "sale_line", erp_line(sale, position, product[1], quantity, price))
