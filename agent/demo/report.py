"""The demo's closing report, in words: what was linked, created and changed, which conflicts were decided and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from statistics import quantiles

from agent.demo.account import SYSTEMS, Account, Edit, Facts, Fate, plain
from state.ports import Journal, Review

SAYS = {"crm": "CRM", "erp": "ERP"}
NOUNS = {
    "name": ("name", "names"), "vat_id": ("VAT number", "VAT numbers"), "email": ("e-mail", "e-mails"),
    "phone": ("phone number", "phone numbers"), "city": ("city", "cities"), "credit": ("credit limit", "credit limits"),
    "terms": ("payment term", "payment terms"), "points": ("bonus points", "bonus points"),
    "parent": ("parent company", "parent companies"), "title": ("product title", "product titles"),
    "price": ("price", "prices"), "quantity": ("quantity", "quantities"), "stage": ("order stage", "order stages"),
    "note": ("note", "notes"), "sku": ("article number", "article numbers"), "number": ("number", "numbers"),
}  # fmt: skip
ENTITIES = {
    "customer": ("customer", "customers"), "product": ("product", "products"), "order": ("order", "orders"),
    "order_line": ("order line", "order lines"),
}  # fmt: skip
FATES = {
    Fate.KEPT: "stand in both systems",
    Fate.REPLACED: "were seen and changed again by somebody else",
    Fate.LOST: "lost by a rule that the journal names, with their value",
    Fate.REVIEW: "wait for a person",
    Fate.MISSING: "are MISSING: nobody can say where they went",
}
OF_EACH = 2  # sentences about conflicts of one kind; the rest is counted


def count(number: int, nouns: tuple[str, str]) -> str:
    """`1 customer`, `1,850 customers`."""
    return f"{number:,} {nouns[number != 1]}"


def first_contact(journal: Sequence[Journal]) -> Iterator[str]:
    """What became of what was there before: links by rule, creations by system, differences by who had the say."""
    for entity, nouns in ENTITIES.items():
        lines = [line for line in journal if line.entity == entity]
        links = Counter(line.rule for line in lines if line.action == "link")
        created = Counter(line.system for line in lines if line.action == "create")
        if links:
            by = ", ".join(f"{n:,} by {_rule(rule)}" for rule, n in links.most_common())
            yield f"{count(links.total(), nouns)} that both systems knew were recognised: {by}."
        if created:
            to = " and ".join(f"{n:,} to the {SAYS[system]}" for system, n in sorted(created.items()))
            yield f"{nouns[1].capitalize()} that only one of them knew were added: {to}."
    yield from _corrected(journal)


def _rule(rule: str) -> str:
    names = rule.removeprefix("match ").split("+")
    return " and ".join(NOUNS.get(name, (name,))[0] for name in names)


def _corrected(journal: Sequence[Journal]) -> Iterator[str]:
    changed = Counter(
        (line.field, line.rule if line.rule.startswith(("owner", "prefer")) else "")
        for line in journal
        if line.action == "update" and line.field
    )
    if changed:
        yield f"Values that differed and were brought into line: {changed.total():,}."
    for (name, rule), n in changed.most_common(6):
        noun = count(n, NOUNS.get(name, (name, name)))
        yield f"  {noun:<24} {_because(rule)}".rstrip()


def _because(rule: str) -> str:
    kind, _, system = rule.replace(":", " ").partition(" ")
    said = SAYS.get(system, system)
    return {"owner": f"the {said} has the say", "prefer": f"the {said} is preferred"}.get(
        kind, "the newer value, or the only one"
    )


def traffic(ledger: Sequence[Edit], delays: Sequence[float]) -> Iterator[str]:
    """Who did how much, and how fast it was on the other side (`delays` in seconds)."""
    for system in SYSTEMS:
        mine = [e for e in ledger if e.system == system]
        people = sorted({e.who for e in mine})
        if mine:
            yield f"{_and(people)} made {count(len(mine), ('edit', 'edits'))} in the {SAYS[system]}."
    if len(delays) > 9:
        steps = quantiles(delays, n=10)
        yield f"Half of it was on its way to the other system within {steps[4]:.2f} s, 9 in 10 within {steps[8]:.2f} s."


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1]))) if words else ""


class Teller:
    """Tells conflicts: joins the journal's decisions with the ledger's names."""

    def __init__(self, facts: Facts, accounts: Sequence[Account], tolerance: float) -> None:
        self.facts, self.accounts, self.tolerance = facts, accounts, tolerance

    def conflicts(self, journal: Iterable[Journal]) -> list[str]:
        """One sentence per conflict or override between people; of each kind only the first few."""
        told: dict[tuple[str, str], dict[object, str]] = {}
        for line in journal:
            if line.action not in ("conflict", "override"):
                continue
            loser = self.find(line, line.system, plain(line.before))
            if loser is not None:
                tell = self.override if line.action == "override" else self.clash
                told.setdefault((line.action, line.field), {}).setdefault((line.gid, loser.at), tell(line, loser))
        kinds = [list(sentences.values()) for sentences in told.values()] + [list(self.sums()), list(self.doubles())]
        shown = [sentence for kind in kinds for sentence in kind[:OF_EACH]]
        more = sum(map(len, kinds)) - len(shown)
        return [*shown, f"… and {more} more of these."] if more else shown

    def find(self, line: Journal, system: str, value: str | None) -> Edit | None:
        """The edit that the journal speaks of."""
        for a in reversed(self.accounts):
            mine = (a.entity, a.gid, a.field, a.edit.system) == (line.entity, line.gid, line.field, system)
            if mine and self.facts.canonical(a.entity, system, a.field, a.edit.after) == value:
                return a.edit
        return None

    def who(self, edit: Edit) -> str:
        return f"{edit.who} ({SAYS[edit.system]})"

    def override(self, line: Journal, loser: Edit) -> str:
        noun, nouns = NOUNS.get(line.field, (line.field, line.field))
        return (
            f"{self.who(loser)} changed the {noun} of {self.name(line.entity, line.gid)} to {_quoted(line.before)}, "
            f"but {nouns} belong to the {SAYS[line.origin]}: it is {_quoted(line.after)} again."
        )

    def clash(self, line: Journal, loser: Edit) -> str:
        winner = self.find(line, line.origin, plain(line.after))
        noun = NOUNS.get(line.field, (line.field,))[0]
        what = f"the {noun} of {self.name(line.entity, line.gid)}"
        mine, theirs = _quoted(line.before), _quoted(line.after)
        if winner is None:
            return f"{self.who(loser)} changed {what} to {mine}; {theirs} won ({line.rule})."
        both = f"{self.who(loser)} and {self.who(winner)} both changed {what} at {loser.at[11:19]}."
        kept = f"{theirs} stands, {loser.who}'s {mine} is kept in the journal."
        return f"{both} {self.why(line.rule, winner, loser)}: {kept}"

    def why(self, rule: str, winner: Edit, loser: Edit) -> str:
        if rule.startswith("prefer:"):
            return f"Here the {SAYS[winner.system]} is preferred"
        gap = (datetime.fromisoformat(winner.at) - datetime.fromisoformat(loser.at)).total_seconds()
        if gap > self.tolerance:
            return f"{winner.who} was later by {gap:.1f} s"
        return f"That was at the same moment, and the {SAYS[winner.system]} comes first in the configuration"

    def sums(self) -> Iterator[str]:
        """Counters that both offices raised: nobody loses."""
        for entity, name in sorted(self.facts.sums):
            edits: dict[str, list[Edit]] = {}
            for a in self.accounts:
                if (a.entity, a.field) == (entity, name) and a.gid and a.fate is Fate.KEPT:
                    edits.setdefault(a.gid, []).append(a.edit)
            for gid, made in edits.items():
                if {e.system for e in made} == set(SYSTEMS):
                    added = " and ".join(f"{self.who(e)} added {e.after - e.before}" for e in made)
                    total = self.facts.value(entity, "crm", self.facts.keys[entity, gid, "crm"], name)
                    noun = NOUNS.get(name, (name,))[0]
                    yield f"{added} {noun} to {self.name(entity, gid)} at once. Both count: {total} in both systems."

    def doubles(self) -> Iterator[str]:
        """Records that were entered in both systems and are one."""
        entered: dict[tuple[str, str], list[Edit]] = {}
        for a in self.accounts:
            if a.edit.op == "insert" and a.gid and a.fate is Fate.KEPT:
                entered.setdefault((a.entity, a.gid), []).append(a.edit)
        for (entity, gid), edits in entered.items():
            if {e.system for e in edits} == set(SYSTEMS):
                both = " and ".join(self.who(e) for e in edits)
                what = f"{self.name(entity, gid)} at {edits[0].at[11:19]}"
                yield f"{both} both entered {what}: it is one {ENTITIES[entity][0]}, not two."

    def name(self, entity: str, gid: str | None) -> str:
        """What a person calls the record."""
        for system in SYSTEMS:
            key = self.facts.keys.get((entity, gid or "", system))
            if key is not None:
                return self.row_name(entity, system, key)
        return f"a {ENTITIES[entity][0]}"

    def row_name(self, entity: str, system: str, key: str) -> str:
        place = self.facts.places[entity][system]
        row = self.facts.rows[system, place.table].get(key)
        if row is None:
            return f"{system}:{key}"
        if entity == "order_line":
            order, line = (row["order_id"], row["line_no"]) if system == "crm" else (row["sale"], row["position"])
            return f"line {line} of {self.row_name('order', system, str(order))}"
        column = {"customer": "name", "product": "title", "order": "number"}[entity]
        text = next(row[c] for c, name in place.fields.items() if name == column)
        return f"order {text}" if entity == "order" else str(text).strip()


def waiting(reviews: Sequence[Review], teller: Teller) -> Iterator[str]:
    """What only a person can settle: one line each, or one for all rows that could be the same record."""
    unsure: dict[frozenset[tuple[str, str, str]], list[Review]] = {}
    for item in sorted(reviews, key=lambda r: (r.kind, r.entity, r.since)):
        rows = [(item.entity, system, key) for system, key in item.detail.get("candidates", ())]
        if rows:
            unsure.setdefault(frozenset([*rows, (item.entity, item.system, item.key)]), []).append(item)
        else:
            yield f"{item.id}  {_subject(item, teller)}: {item.message}"
    for group, items in unsure.items():
        names = [f"{teller.row_name(*row)} ({SAYS[row[1]]})" for row in sorted(group, key=lambda row: row[1:])]
        yield f"{items[0].id}  {_and(names)} could be the same {ENTITIES[items[0].entity][0]}. Which are?"


def _subject(item: Review, teller: Teller) -> str:
    """The record that the item is about; one that a system refused is known by the row that it came from."""
    if item.gid and any((item.entity, item.gid, s) in teller.facts.keys for s in SYSTEMS):
        return teller.name(item.entity, item.gid)
    system, _, key = str(item.detail.get("record", f"{item.system}:{item.key}")).partition(":")
    return teller.row_name(item.entity, system, key)


def fates(accounts: Sequence[Account]) -> Iterator[str]:
    """How many edits met which fate; the missing ones by name."""
    counted = Counter(a.fate for a in accounts)
    for fate, words in FATES.items():
        if counted[fate] or fate is Fate.MISSING:
            yield f"{counted[fate]:>5,}  {words}"
    for a in accounts:
        if a.fate is Fate.MISSING:
            e = a.edit
            yield f"       {e.at} {e.who}, {e.system} {e.table} {e.key} {e.column or e.op}: {e.before} -> {e.after}"


def shortened(lines: Iterable[str], most: int) -> list[str]:
    """The first lines, and how many more there are."""
    all_ = list(lines)
    return all_ if len(all_) <= most + 1 else [*all_[:most], f"… and {len(all_) - most} more."]


def _quoted(value: object) -> str:
    text = plain(value)
    return "nothing" if text is None else f"“{text}”"
