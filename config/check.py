"""What can be wrong between the sections, as far as that can be told without a database."""

from __future__ import annotations

from typing import Any

from config.draft import Draft, EntityDraft, FieldDraft, Part, Path, places
from config.expressions import ExpressionError, condition
from config.model import SystemOptions, TableOptions
from config.urls import DIALECTS, LOGGED
from config.words import suggestion

NUMBERS = ("int", "decimal")


def check(draft: Draft) -> None:
    """Judge everything that was understood."""
    for name, part in draft.systems.items():
        url = part.get("url") or ""
        if url.startswith("sqlite:") and part.get("password"):
            draft.wrong(("systems", name, "password"), "no-password", "a SQLite file has no password.", "Remove it.")
        check_triggers(draft, part, name, ("systems", name))
    for name, entity in draft.entities.items():
        path: Path = ("entities", name)
        check_shape(draft, entity, path)
        check_tables(draft, entity, path)
        check_fields(draft, entity, path)
        check_columns(draft, entity, path)
        check_groups(draft, entity, path)
        check_match(draft, entity, path)
        check_systems_named(draft, entity, path)
        check_create(draft, entity, path)


def known_system(draft: Draft, entity: EntityDraft, system: str, path: Path) -> bool:
    """Report a system that has no part in the entity."""
    if entity.takes_part(system):
        return True
    if draft.systems_known and system not in draft.systems:
        message = f'no system is called "{system}". {suggestion(system, entity.tables or draft.systems)}'
        draft.wrong(path, "unknown-system", message)
    else:
        name = path[1]
        message = f"{system} has no table for {name}."
        draft.wrong(path, "no-table", message, f"Add [{name}.{system}] with table = …, or name another system.")
    return False


# --- the entity ------------------------------------------------------------------------------------------------------


def check_shape(draft: Draft, entity: EntityDraft, path: Path) -> None:
    """An entity stands in two systems at least, and something of it is mapped."""
    name = path[-1]
    if len(entity.tables) < 2 and not entity.doubtful:
        message = (
            f"has a table in {len(entity.tables) or 'no'} system{'s' * (not entity.tables)}; two or more are needed."
        )
        others = [system for system in draft.systems if system not in entity.tables] or ["SYSTEM"]
        draft.wrong(path, "too-few-systems", message, f"Add [{name}.{others[0]}] with table = ….")
    if entity.mapped and not entity.fields and not entity.unread:
        hint = f"Add [{name}.fields] with lines like name = {places(entity)}."
        draft.wrong((*path, "fields"), "no-fields", "no field is mapped.", hint)


def check_systems_named(draft: Draft, entity: EntityDraft, path: Path) -> None:
    """owner, conflict, delete and create of the entity."""
    for key in ("owner", "conflict"):
        for system in systems_named(key, entity.part.get(key)):
            known_system(draft, entity, system, (*path, key))
    for key in ("delete", "create"):
        value = entity.part.get(key)
        for system in value if isinstance(value, dict) else ():
            known_system(draft, entity, system, (*path, key, system))


def systems_named(key: str, value: Any) -> list[str]:
    """The systems that an attribute names: owner one, lossy many, conflict one behind `prefer:`."""
    if not value:
        return []
    if key == "conflict":
        return [value.removeprefix("prefer:")] if value.startswith("prefer:") else []
    return [value] if key == "owner" else sorted(value)


# --- its tables ------------------------------------------------------------------------------------------------------


def check_tables(draft: Draft, entity: EntityDraft, path: Path) -> None:
    """What a table needs, and what its system allows."""
    delete = entity.part.get("delete")
    for system, table in entity.tables.items():
        whole, at = draft.systems.get(system), (*path, system)
        policy = delete.get(system, "review") if isinstance(delete, dict) else delete
        if policy == "archive" and table.get("archive") == {}:
            hint = f"Say how in [{path[-1]}.{system}], like archive = {{ deleted = 1 }}, or choose another policy."
            message = f'"archive" is the policy in {system}, but {path[-1]}.{system} does not say how.'
            draft.wrong((*path, "delete", system), "no-archive", message, hint)
        if whole is None:
            continue
        if whole.get("write") is False and "write" in table.value.model_fields_set and table.get("write"):
            message = f"{system} is never written (systems.{system}.write = false)."
            draft.wrong((*at, "write"), "never-written", message, "Remove one of the two.")
        defaults = whole.get("defaults")
        polled = "watermark" in (table.get("capture"), whole.get("capture") if captures_as(table) else None)
        if polled and table.sound("modified") and not table.value.modified and defaults and not defaults.modified:
            hint = f'Add modified = "column" to [{path[-1]}.{system}], or use capture = "trigger".'
            draft.wrong(
                (*at, "modified"), "no-modified", "watermark capture needs to know when a row was changed.", hint
            )
        check_log(draft, table, system, at)
        check_triggers(draft, table, system, at)
        for column, value in (table.get("archive") or {}).items():
            made = isinstance(value, str) and value.startswith("sql:")
            if made and table.sound("restore") and column not in table.value.restore:
                hint = f'Add restore = {{ {column} = "sql:null" }}, or what it holds in a row that is alive.'
                message = "a row that was archived by an expression cannot be told from one that is alive."
                draft.wrong((*at, "archive", column), "no-restore", message, hint)


def check_log(draft: Draft, table: Part[TableOptions], system: str, at: Path) -> None:
    """Not every kind of database has a log that can be read."""
    whole = draft.systems[system]
    if "log" not in (table.get("capture"), whole.get("capture") if captures_as(table) else None):
        return
    scheme = str(whole.get("url") or "").partition(":")[0]
    if scheme in DIALECTS and DIALECTS[scheme] not in LOGGED:
        hint = 'Use capture = "trigger" or "watermark".'
        draft.wrong((*at, "capture"), "no-log", f"the log of {system} ({scheme}) cannot be read.", hint)


def check_triggers(draft: Draft, part: Part[SystemOptions] | Part[TableOptions], system: str, at: Path) -> None:
    """Only PostgreSQL shows a trigger all rows of a statement."""
    scheme = str(draft.systems[system].get("url") or "").partition(":")[0]
    if part.get("triggers") == "statement" and DIALECTS.get(scheme, "postgresql") != "postgresql":
        message = f"{system} ({scheme}) has no triggers that fire once for each statement."
        draft.wrong((*at, "triggers"), "no-statement-triggers", message, 'Remove it, or write triggers = "row".')


def captures_as(table: Part[TableOptions]) -> bool:
    """The table says nothing of its own, so it is captured as its system is."""
    return table.sound("capture") and table.value.capture is None


# --- its fields ------------------------------------------------------------------------------------------------------


def check_fields(draft: Draft, entity: EntityDraft, path: Path) -> None:
    for name, field in entity.fields.items():
        at = (*path, "fields", name)
        for system in field.places:
            known_system(draft, entity, system, (*at, system))
        if not field.places and not field.doubtful:
            hint = f"Write {name} = {places(entity)}."
            draft.wrong(at, "no-place", "this field has no column in any system.", hint)
        for key in ("owner", "conflict", "lossy"):
            for system in systems_named(key, field.part.get(key)):
                check_holder(draft, entity, field, system, (*at, key))
        check_type(draft, entity, field, at)
        if field.part.get("ref"):
            check_ref(draft, entity, field, at)


def check_holder(draft: Draft, entity: EntityDraft, field: FieldDraft, system: str, at: Path) -> None:
    """A system that is named by a field must hold that field."""
    if field.holds(system) or not known_system(draft, entity, system, at):
        return
    message = f"{system} does not hold this field. {suggestion(system, field.places)}"
    draft.wrong(at, "no-place", message, f'Add {system} = "column" to the field, or name another system.')


def check_type(draft: Draft, entity: EntityDraft, field: FieldDraft, at: Path) -> None:
    """Counters are numbers without an owner; a reference has the type of the key it holds."""
    kind, ref, own = field.part.get("type"), field.part.get("ref"), field.part.get("conflict")
    lookup = field.part.get("lookup")
    if lookup:
        check_lookup(draft, field, lookup, at)
    spelled = next((s for s, place in field.spelled.items() if place.map or place.format), None)
    if ref and (spelled or field.part.get("format")):
        message = "a reference holds a key, which has neither a map nor a format."
        draft.wrong((*at, spelled) if spelled else (*at, "format"), "ref-format", message, "Remove it.")
    if own == "sum" and (spelled or field.part.get("format")):
        message = '"sum" adds numbers, and what has a map or a format is none.'
        draft.wrong((*at, "conflict"), "not-a-number", message, "Choose another rule, or remove the map or format.")
    if ref and kind:
        draft.wrong((*at, "type"), "ref-type", "a reference has the type of the key that it holds.", "Remove type.")
    conflict = own or (entity.part.get("conflict") if field.part.sound("conflict") else None)
    if conflict != "sum":
        return
    place = (*at, "conflict") if own else at
    if ref or (kind and kind.split("(")[0] not in NUMBERS):
        message = f'"sum" adds numbers, and this is {"a reference" if ref else f"of the type {kind}"}.'
        draft.wrong(place, "not-a-number", message, 'Choose another rule, for example conflict = "latest".')
    if own and field.part.get("owner"):
        message = '"sum" adds up what all systems do to the value, so nobody owns it.'
        draft.wrong((*at, "owner"), "owned-sum", message, "Remove owner or conflict.")


def check_lookup(draft: Draft, field: FieldDraft, name: str, at: Path) -> None:
    """The lookup is known, and the field's values are what it says."""
    if name not in draft.lookups and draft.lookups_known and draft.entities_known:
        message = f'no lookup is called "{name}". {suggestion(name, draft.lookups)}'
        draft.wrong((*at, "lookup"), "unknown-lookup", message, f"Add [lookups.{name}] to a file in entities/.")
    for key in ("ref", "format", "type"):
        if field.part.get(key):
            message = f"a field with a lookup has no {key}: its value is what the lookup gives."
            draft.wrong((*at, key), "lookup-too", message, "Remove one of the two.")
    for system, place in field.spelled.items():
        if place.map or place.format:
            message = "the lookup says how the values are spelled."
            draft.wrong((*at, system), "lookup-too", message, "Move the map or format to the lookup.")
    if field.part.get("conflict") == "sum":
        draft.wrong((*at, "conflict"), "not-a-number", '"sum" adds numbers, and a lookup gives none.', "Remove it.")


def check_ref(draft: Draft, entity: EntityDraft, field: FieldDraft, at: Path) -> None:
    """The entity that is referred to is known, and lives in the systems that hold the reference."""
    name = field.part.get("ref")
    target = draft.entities.get(name)
    if target is None:
        if draft.entities_known:
            message = f'no entity is called "{name}". {suggestion(name, draft.entities)}'
            draft.wrong((*at, "ref"), "unknown-entity", message)
        return
    for system in field.places:
        if system in entity.tables and not target.takes_part(system):
            message = f"{name} has no table in {system}, so nothing there can refer to it."
            hint = f"Add [{name}.{system}], or remove {system} from this field."
            draft.wrong((*at, system), "ref-outside", message, hint)


def check_columns(draft: Draft, entity: EntityDraft, path: Path) -> None:
    """A column stands for one field, and not also for being archived."""
    for system, table in entity.tables.items():
        archive = {**(table.get("archive") or {}), **(table.get("restore") or {})}
        holder: dict[str, str] = {}
        for name, field in entity.fields.items():
            column, at = field.places.get(system), (*path, "fields", name, system)
            if column is None:
                continue
            if column in archive:
                message = (
                    f'{system}\'s column "{column}" says whether the record is archived; it cannot be a field too.'
                )
                draft.wrong(
                    at, "archive-column", message, f"Remove the field, or the column from [{path[-1]}.{system}]."
                )
            if column in holder:
                message = f'{system}\'s column "{column}" is already mapped by {path[-1]}.fields.{holder[column]}.'
                draft.wrong(at, "column-twice", message, "Keep one of the two fields.")
            holder.setdefault(column, name)


def check_groups(draft: Draft, entity: EntityDraft, path: Path) -> None:
    """Fields of one group are one value: one owner, one rule, and the same systems."""
    first: dict[str, str] = {}
    for name, field in entity.fields.items():
        group = field.part.get("group")
        if not group:
            continue
        at = (*path, "fields", name)
        other = entity.fields[first.setdefault(group, name)]
        if other is field:
            continue
        for key in ("owner", "override", "conflict"):
            if not (field.part.sound(key) and other.part.sound(key) and entity.part.sound(key)):
                continue
            ours, theirs = effective(entity, field, key), effective(entity, other, key)
            if ours != theirs:
                message = (
                    f'{key} is {quoted(ours)}, but {quoted(theirs)} in "{first[group]}" of the same group "{group}".'
                )
                draft.wrong(
                    (*at, key), "group-differs", message, "Fields of one group are decided as one: say the same."
                )
            elif key == "conflict" and ours == "sum":
                message = f'a counter stands alone, but the group "{group}" is one value.'
                draft.wrong((*at, key), "group-sum", message, "Remove group or conflict.")
        if set(field.places) != set(other.places) and not field.doubtful | other.doubtful:
            message = f'the systems that hold it are not those of "{first[group]}" in the same group "{group}".'
            draft.wrong(
                at, "group-differs", message, "Fields of one group are decided as one: map them in the same systems."
            )


def effective(entity: EntityDraft, field: FieldDraft, key: str) -> str | None:
    """What holds for a field: its own word, else the entity's where that system holds the field."""
    value = getattr(field.part.value, key) or getattr(entity.part.value, key)
    return str(value) if value is not None else None


def quoted(value: str | None) -> str:
    return f'"{value}"' if value else "not set"


# --- its conditions --------------------------------------------------------------------------------------------------


def check_create(draft: Draft, entity: EntityDraft, path: Path) -> None:
    """Conditions are over fields that are mapped, and fit together as far as the types are known here."""
    create, at = entity.part.get("create"), (*path, "create")
    conditions = {(*at, system): text for system, text in create.items()} if isinstance(create, dict) else {at: create}
    for place, text in conditions.items():
        if isinstance(text, str):
            check_condition(draft, entity, text, place)


def check_condition(draft: Draft, entity: EntityDraft, text: str, at: Path) -> None:
    if not entity.mapped:
        return  # else every field would be unknown
    fields = {name: type_of(field) for name, field in entity.fields.items()}
    try:
        condition(text, fields | dict.fromkeys(entity.unread))
    except ExpressionError as error:
        draft.wrong(at, "expression", str(error))


def type_of(field: FieldDraft) -> str | None:
    """What the value is, where the file says it."""
    if field.part.get("ref"):
        return "ref"
    kind = field.part.get("type")
    return kind.partition("(")[0] if kind else None


# --- its identity ----------------------------------------------------------------------------------------------------


def check_match(draft: Draft, entity: EntityDraft, path: Path) -> None:
    """A rule names mapped fields that two systems hold; without rules only one system may be given new records."""
    at = (*path, "match")
    rules = entity.part.get("match")
    for rule in rules or ():
        strange = [name for name in rule if name not in entity.fields and name not in entity.unread]
        for name in strange:
            message = f'no field is called "{name}". {suggestion(name, entity.fields)}'
            if entity.mapped and (entity.fields or entity.unread):
                draft.wrong(at, "unknown-field", message, f"Map it in [{path[-1]}.fields], or correct the rule.")
        fields = [entity.fields[name] for name in rule if name in entity.fields]
        if len(fields) < len(rule):
            continue
        holders = [system for system in entity.tables if all(field.holds(system) for field in fields)]
        if len(holders) < 2 <= len(entity.tables):
            message = f"no two systems hold all of {', '.join(rule)}, so this rule can never match."
            draft.wrong(at, "useless-rule", message, "Map these fields in two systems, or correct the rule.")
    makers = [system for system in entity.tables if creates(draft, entity, system)]
    if rules == () and len(makers) > 1 and not entity.doubtful and entity.part.sound("create"):
        hint = 'Add match = [["field"]], or create = { SYSTEM = false } for all systems but one.'
        message = f"without a rule, records that exist in several of {', '.join(makers)} would be created twice."
        draft.wrong(at, "no-match", message, hint)


def creates(draft: Draft, entity: EntityDraft, system: str) -> bool:
    """May Accord create records there? Where that was not understood: no."""
    create, table, whole = entity.part.get("create"), entity.tables[system], draft.systems.get(system)
    allowed = create.get(system, True) if isinstance(create, dict) else create
    return bool(allowed and table.get("write") and (whole is None or whole.get("write")))
