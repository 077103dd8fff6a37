"""The demo's world: a CRM and an ERP that know most of the same companies, each in its own words and with its own dirt.

Everything follows from the seed: the same seed makes the same two databases, byte for byte in their contents.
"""

from __future__ import annotations

import random
import sqlite3
import unicodedata
import uuid
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from agent.demo import names

SIDE = 2000  # customers in each system
SHARED = 1850  # of them in both, without a doubt
START = datetime(2025, 1, 6, 8)  # the oldest record; the newest is about eight months younger

Row = dict[str, Any]
Keys = tuple[str, int]  # the same record's key in the CRM and in the ERP


@dataclass
class Company:
    """A company as it is in truth; each system holds its own version of it."""

    name: str
    vat: str
    email: str
    phone: str
    city: str
    credit: int
    terms: int
    points: int


@dataclass
class World:
    """All rows of both systems by table, and what the people of the demo need to know to find their way."""

    crm: dict[str, list[Row]] = field(default_factory=dict)
    erp: dict[str, list[Row]] = field(default_factory=dict)
    customers: list[Keys] = field(default_factory=list)  # in both systems, agreed, without orders or family
    buyers: list[Keys] = field(default_factory=list)  # in both systems, with orders
    products: list[Keys] = field(default_factory=list)  # in both systems
    orders: list[Keys] = field(default_factory=list)  # in both systems
    lines: list[Keys] = field(default_factory=list)  # of orders in both systems, themselves in both
    strangers: list[Company] = field(default_factory=list)  # companies that nobody has entered yet


def imagine(seed: int) -> World:
    """Make up the world in memory; the same for the same seed."""
    world = World(
        crm={table: [] for table in ("accounts", "products", "orders", "order_lines")},
        erp={table: [] for table in ("party", "item", "sale", "sale_line")},
    )
    _Customers(world, seed).fill()
    _Products(world, seed).fill()
    _Orders(world, seed).fill()
    return world


def build(folder: Path, seed: int) -> World:
    """Write crm.db, erp.db and the mapping into `folder`, which must exist and be empty of them."""
    world = imagine(seed)
    _write(folder / "crm.db", "crm.sql", world.crm)
    _write(folder / "erp.db", "erp.sql", world.erp)
    _copy_mapping(folder)
    return world


def _write(path: Path, schema: str, tables: dict[str, list[Row]]) -> None:
    script = (files("agent.demo") / "files" / schema).read_text(encoding="utf-8")
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(script)
        for table, rows in tables.items():
            columns = list(rows[0])
            marks = ", ".join(f":{c}" for c in columns)
            db.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)
        db.commit()


def _copy_mapping(folder: Path) -> None:
    (folder / "entities").mkdir(exist_ok=True)
    with as_file(files("agent.demo") / "files") as source:
        for path in [source / "accord.toml", *sorted((source / "entities").glob("*.toml"))]:
            (folder / path.relative_to(source)).write_bytes(path.read_bytes())


class _Clerk:
    """Makes rows: keys, times and the columns that every table of a system has."""

    def __init__(self, world: World, seed: int, part: str) -> None:
        self.world = world
        self.random = random.Random(f"{seed}:{part}")

    def uuid(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def when(self) -> datetime:
        return START + timedelta(minutes=self.random.randrange(240 * 24 * 60), seconds=self.random.randrange(60))

    def crm(self, table: str, row: Row) -> str:
        """Enter a row in the CRM; times have whole seconds there."""
        entered = self.when()
        changed = entered + timedelta(hours=self.random.randrange(400))
        key = self.uuid()
        self.world.crm[table].append({"id": key, **row, "date_entered": f"{entered}", "date_modified": f"{changed}"})
        return key

    def erp(self, table: str, row: Row) -> int:
        """Enter a row in the ERP; `write_date` stays empty until a row is changed, as in real ones."""
        created = self.when() + timedelta(microseconds=self.random.randrange(1000) * 1000 + 1000)
        written = created + timedelta(hours=self.random.randrange(400))
        rows = self.world.erp[table]
        stamps = {
            "create_date": created.isoformat(" ", "milliseconds"),
            "write_date": written.isoformat(" ", "milliseconds") if self.random.random() < 0.6 else None,
        }
        rows.append({"id": len(rows) + 1, **row, **stamps})
        return len(rows)

    def chance(self, share: float) -> bool:
        return self.random.random() < share


class _Customers(_Clerk):
    """2,000 customers on each side: most in both, some dirty, some doubtful, some in one system only."""

    def __init__(self, world: World, seed: int) -> None:
        super().__init__(world, seed, "customers")
        self.companies = iter(self.invent())

    def invent(self) -> list[Company]:
        pairs = [(stem, trade) for stem in names.STEMS for trade in names.TRADES]
        self.random.shuffle(pairs)
        return [self.company(f"{stem} {trade}", number) for number, (stem, trade) in enumerate(pairs)]

    def company(self, name: str, number: int) -> Company:
        city, form, country, dial, domain = self.random.choice(names.CITIES)
        return Company(
            name=f"{name} {form}",
            vat=f"{country}{507_000_000 + number * 137 + self.random.randrange(100)}",
            email=f"office@{_slug(name)}.{domain}",
            phone=f"{dial} {self.random.randrange(2_000_000, 9_999_999)}",
            city=city,
            credit=self.random.choice((1000, 2500, 5000, 5000, 10_000, 25_000)),
            terms=self.random.choice((14, 30, 30, 45)),
            points=self.random.randrange(0, 400, 5),
        )

    def fill(self) -> None:
        shared = [self.shared(company) for company in self.take(SHARED)]
        self.families(shared)
        self.doubtful()
        self.walk_ins()
        self.archived()
        for company in self.take(SIDE - len(self.world.crm["accounts"])):
            self.account(company)
        for company in self.take(SIDE - len(self.world.erp["party"])):
            self.party(company)
        self.world.strangers = self.take(400)

    def take(self, count: int) -> list[Company]:
        return [next(self.companies) for _ in range(count)]

    def account(self, company: Company, **different: Any) -> str:
        row = {
            "name": company.name, "phone_office": company.phone, "email1": company.email, "vat_c": company.vat,
            "billing_address_city": company.city, "credit_limit_c": company.credit, "payment_days_c": company.terms,
            "bonus_points_c": company.points, "parent_id": None,
            "assigned_user": self.random.choice(names.CRM_PEOPLE), "description": None, "deleted": 0,
        }  # fmt: skip
        return self.crm("accounts", row | different)

    def party(self, company: Company, **different: Any) -> int:
        row = {
            "code": f"P{len(self.world.erp['party']) + 1:05d}",
            "name": company.name, "tax_code": company.vat, "phone": company.phone, "email": company.email,
            "city": company.city, "credit_limit": company.credit, "terms_days": company.terms,
            "points": company.points, "parent": None, "active": 1,
        }  # fmt: skip
        return self.erp("party", row | different)

    def shared(self, company: Company) -> Keys:
        """A company that both offices know, each as carefully as offices are."""
        crm, erp = self.dirt(company)
        keys = (self.account(company, **crm), self.party(company, **erp))
        if not crm and not erp:
            self.world.customers.append(keys)
        return keys

    def dirt(self, company: Company) -> tuple[Row, Row]:
        """What each system holds differently from the truth."""
        crm: Row = {}
        erp: Row = {}
        if self.chance(0.08):
            erp["name"] = company.name.upper()
        elif self.chance(0.03):
            erp["name"] = company.name + " "
        if self.chance(0.10):
            crm["phone_office"] = ""
        if self.chance(0.10):
            erp["phone"] = None
        elif self.chance(0.06):
            erp["phone"] = company.phone.replace("+", "00")
        if self.chance(0.05):
            crm["credit_limit_c"] = company.credit * 2  # the CRM promises more than the ERP grants
        if self.chance(0.03):
            crm["billing_address_city"] = company.city.lower()
        self.identity_dirt(company, crm, erp)
        return crm, erp

    def identity_dirt(self, company: Company, crm: Row, erp: Row) -> None:
        """Dirt in what records are matched by: one of the two rules always still finds the other side."""
        luck = self.random.random()
        if luck < 0.07:
            crm["vat_c"] = ""
        elif luck < 0.11:
            erp["tax_code"] = None
        elif luck < 0.15:
            crm["vat_c"], erp["tax_code"] = "", None
        elif luck < 0.20:
            crm["email1"] = company.email.replace("office@", "Office@")
        elif luck < 0.24:
            crm["email1"] = ""
        elif luck < 0.26:
            erp["email"] = None

    def families(self, shared: list[Keys]) -> None:
        """Some companies belong to another one, in both systems; they and their parents leave `customers`."""
        accounts = {row["id"]: row for row in self.world.crm["accounts"]}
        chosen = self.random.sample(shared, 150)
        for child, parent in zip(chosen[:110], self.random.choices(chosen[110:], k=110), strict=True):
            accounts[child[0]]["parent_id"] = parent[0]
            self.world.erp["party"][child[1] - 1]["parent"] = parent[1]
        family = set(chosen)
        self.world.customers = [keys for keys in self.world.customers if keys not in family]

    def doubtful(self) -> None:
        """Records of which only a person can say who they are."""
        for company in self.take(3):  # entered twice in the CRM, known once in the ERP
            self.account(company)
            self.account(company, name=f"{company.name} (old)", email1="", phone_office="")
            self.party(company)
        for company, sister in zip(self.take(2), self.take(2), strict=True):  # two ERP parties share one mailbox
            self.account(company, vat_c="")
            self.party(company)
            self.party(sister, name=f"{company.name} (Trading)", email=company.email)
        (company,) = self.take(1)  # twice in the ERP, unknown to the CRM
        self.party(company)
        self.party(company, name=f"{company.name} (2nd)", email=None)

    def walk_ins(self) -> None:
        """Customers with neither VAT number nor e-mail: no rule can match them, so the other side gets each one new."""
        for number, company in enumerate(self.take(4), 1):
            self.account(company, name=f"Walk-in customer {number}", vat_c="", email1="")
        for number, company in enumerate(self.take(3), 1):
            self.party(company, name=f"Counter sale {number}", tax_code=None, email=None)

    def archived(self) -> None:
        """Customers that one office gave up long ago, unknown to the other: they count as gone and are left alone."""
        for company in self.take(12):
            self.account(company, deleted=1)
        for company in self.take(9):
            self.party(company, active=0)


class _Products(_Clerk):
    """200 products on each side, 188 in both; the ERP's prices rule."""

    def __init__(self, world: World, seed: int) -> None:
        super().__init__(world, seed, "products")

    def fill(self) -> None:
        titles = [f"{adjective} {good}" for adjective in names.ADJECTIVES for good in names.GOODS]
        self.random.shuffle(titles)
        for number, title in enumerate(titles[:212]):
            sku, price = f"A-{1000 + number}", self.random.randrange(300, 60_000) / 100
            crm = self.crm("products", self.product(sku, title, price)) if number < 200 else None
            erp = self.erp("item", self.item(sku, title, price)) if not 188 <= number < 200 else None
            if crm and erp:
                self.world.products.append((crm, erp))

    def product(self, sku: str, title: str, price: float) -> Row:
        old = self.chance(0.1)  # last year's price list
        return {"name": title, "part_number": sku, "price": round(price * 0.95, 2) if old else price, "deleted": 0}

    def item(self, sku: str, title: str, price: float) -> Row:
        return {"sku": sku, "title": title.upper() if self.chance(0.1) else title, "list_price": price, "active": 1}


class _Orders(_Clerk):
    """Orders with their lines: 320 in both systems, 50 in one only on each side, and one that the ERP must refuse."""

    def __init__(self, world: World, seed: int) -> None:
        super().__init__(world, seed, "orders")
        self.prices = {row["id"]: row["list_price"] for row in world.erp["item"]}

    def fill(self) -> None:
        self.random.shuffle(self.world.customers)
        buyers, self.world.customers = self.world.customers[:160], self.world.customers[160:]
        self.world.buyers = buyers
        for number in range(420):
            keys = self.random.choice(buyers)
            on_crm, on_erp = number < 370, not 320 <= number < 370
            self.order(
                f"{'S' if on_crm and on_erp else 'C' if on_crm else 'E'}-{10_000 + number}", keys, on_crm, on_erp
            )
        self.crm("orders", self.head_crm("C-19999", None, START, "new"))  # the ERP has no order without a customer

    def order(self, number: str, customer: Keys, on_crm: bool, on_erp: bool) -> None:
        date, stage = self.when(), self.random.choice(("draft", "confirmed", "shipped"))
        crm = self.crm("orders", self.head_crm(number, customer[0], date, stage)) if on_crm else None
        erp = self.erp("sale", self.head_erp(number, customer[1], date, stage)) if on_erp else None
        for line, product in enumerate(self.random.sample(self.world.products, self.random.randrange(1, 5)), 1):
            quantity, price = self.random.randrange(1, 20), self.prices[product[1]]
            if crm and erp and self.chance(0.03):
                crm_quantity = quantity + 1  # somebody changed the order in one system only
            else:
                crm_quantity = quantity
            one = crm and self.crm("order_lines", crm_line(crm, line, product[0], crm_quantity, price))
            two = erp and self.erp("sale_line", erp_line(erp, line, product[1], quantity, price))
            if one and two:
                self.world.lines.append((one, two))
        if crm and erp:
            self.world.orders.append((crm, erp))

    def head_crm(self, number: str, account: str | None, date: datetime, stage: str) -> Row:
        return {"number": number, "account_id": account, "stage": stage, "date_ordered": f"{date:%Y-%m-%d}", "note": ""}

    def head_erp(self, number: str, party: int, date: datetime, stage: str) -> Row:
        return {"reference": number, "party": party, "state": stage, "sale_date": f"{date:%Y-%m-%d}", "comment": None}


def crm_line(order: str, line: int, product: str, quantity: float, price: float) -> Row:
    """One order line as the CRM's application writes it."""
    return {"order_id": order, "line_no": line, "product_id": product, "qty": quantity, "unit_price": price}


def erp_line(sale: int, line: int, item: int, quantity: float, price: float) -> Row:
    """One order line as the ERP's application writes it."""
    return {"sale": sale, "position": line, "item": item, "quantity": quantity, "unit_price": price}


def _slug(name: str) -> str:
    """A name as it stands in an internet address."""
    plain = unicodedata.normalize("NFKD", name.translate(str.maketrans("øŁł", "oLl")))
    return "".join(_letters(plain.lower()))


def _letters(text: str) -> Iterable[str]:
    return (letter for letter in text.replace(" ", "-") if letter.isascii() and (letter.isalnum() or letter == "-"))
