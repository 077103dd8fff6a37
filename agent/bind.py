"""Configuration and databases put together: every table and column looked up, every type settled.

All problems are reported at once, each with file, line and key. What follows from a table that was not found is not
reported again. Nothing is written anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from adapters.ports import System
from agent import lookups, roads
from agent.lookups import Lookup
from config.errors import Problem
from config.expressions import Expression, ExpressionError, condition
from config.model import Config, DefaultOptions, EntityConfig, FieldConfig, ReferenceOptions, TableConfig
from config.records import Column, Entity, Field, Road, Table, TableInfo, Value

CANONICAL = {"float": "decimal", "time": "text"}  # kinds of columns that are another type canonically
CONVERTS = {  # declared type -> kinds of columns that it can be kept in
    "text": {"text", "int", "decimal", "float", "bool", "date", "datetime", "time"},
    "int": {"int", "decimal", "float", "text"},
    "decimal": {"decimal", "float", "int", "text", "bytes"},
    "bool": {"bool", "int", "text", "decimal"},
    "date": {"date", "text"},
    "datetime": {"datetime", "text"},
    "bytes": {"bytes"},
}
OPPOSITE: dict[Value, Value] = {True: False, False: True, "t": "f", "f": "t", "Y": "N", "N": "Y", "y": "n", "n": "y"}


@dataclass(slots=True)
class Binding:
    """The entities, and what is wrong. Entities with a problem are left out."""

    entities: dict[str, Entity] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


def bind(config: Config, systems: Mapping[str, System], only: Iterable[str] | None = None) -> Binding:
    """Look everything up. `only`: these entities and what they refer to. Raises Unreachable."""
    out = Binding()
    infos = _describe(config, systems, out)
    references = _references(config, systems, out, only_used(config))
    for name, entity in config.entities.items():
        before = len(out.problems)
        bound = _Binder(config, entity, infos, references, out).run()
        if bound is not None and len(out.problems) == before:
            out.entities[name] = bound
    _required_circles(config, out)
    if only is not None:
        wanted = _with_parents(out.entities, only)
        out.entities = {n: e for n, e in out.entities.items() if n in wanted}
    return out


def _describe(config: Config, systems: Mapping[str, System], out: Binding) -> dict[tuple[str, str], TableInfo]:
    """(entity, system) -> its table; a table that is not there is reported with the nearest name."""
    infos: dict[tuple[str, str], TableInfo] = {}
    names: dict[tuple[str, str | None], list[str]] = {}
    for name, entity in config.entities.items():
        for s, table in entity.systems.items():
            info = systems[s].describe(table.table, table.schema_name)
            if info is not None:
                infos[name, s] = info
                continue
            place = (s, table.schema_name)
            if place not in names:
                names[place] = systems[s].tables(table.schema_name)
            where = f" in schema {table.schema_name}" if table.schema_name else ""
            hint = nearest(table.table, names[place]) or "Is the name right, and may the account see it?"
            message = f"{s} has no table {table.table!r}{where}."
            out.problems.append(config.problem(("entities", name, s, "table"), "no-table", message, hint, system=s))
    return infos


def only_used(config: Config) -> set[tuple[str, str]]:
    """(lookup, system) of all fields."""
    fields = [f for entity in config.entities.values() for f in entity.fields.values()]
    return {(f.lookup, s) for f in fields if f.lookup for s in f.places}


def _references(
    config: Config, systems: Mapping[str, System], out: Binding, used: set[tuple[str, str]]
) -> dict[tuple[str, str], Lookup]:
    """(lookup, system) -> its reference table. A lookup that has none in a system has no entry."""
    found = {}
    for name, spec in config.lookups.items():
        for s, options in spec.systems.items():
            if (name, s) in used and s in systems:
                lookup = _Reference(config, name, s, options, systems[s], out).run()
                if lookup is not None:
                    found[name, s] = lookup
    return found


class _Reference:
    """One reference table in one system."""

    def __init__(
        self, config: Config, name: str, system: str, options: ReferenceOptions, port: System, out: Binding
    ) -> None:
        self.config, self.name, self.system, self.options, self.port, self.out = (
            config,
            name,
            system,
            options,
            port,
            out,
        )

    def problem(self, key: str, code: str, message: str, hint: str = "") -> None:
        path = ("entities", "lookups", self.name, self.system, key)
        self.out.problems.append(self.config.problem(path, code, message, hint, system=self.system))

    def run(self) -> Lookup | None:
        options, before = self.options, len(self.out.problems)
        info = self.port.describe(options.table, options.schema_name)
        if info is None:
            hint = nearest(options.table, self.port.tables(options.schema_name))
            self.problem("table", "no-table", f"{self.system} has no table {options.table!r}.", hint)
            return None
        keys = (options.key,) if options.key else info.primary_key
        if len(keys) != 1:
            message = f"{info.name} in {self.system} has no key of one column, which another column could hold."
            self.problem("key", "lookup-key", message, 'Name the column: key = "…".')
            return None
        names = [options.value, *options.where]
        for key, name in (("key", keys[0]), ("value", options.value), *(("where", n) for n in options.where)):
            if name not in info.columns or not info.columns[name].kind:
                message = f"{info.name} in {self.system} has no column {name!r} of a known type."
                self.problem(key, "no-column", message, nearest(name, info.columns))
        if len(self.out.problems) > before:
            return None
        if not any(u and set(u) <= set(keys) for u in (info.primary_key, *info.unique)):
            self.problem("key", "key-not-unique", f"{keys[0]} is not unique in {info.name}: no unique index covers it.")
            return None
        columns = [info.columns[name] for name in names]
        types = ["text", *(roads.COLUMN_TYPES.get(c.kind, "text") for c in columns[1:])]
        where = {}
        for i, (column, value) in enumerate(options.where.items(), 1):
            try:
                where[i] = lookups.constant(value, types[i])
            except ValueError as error:
                self.problem("where", "where", f"{column}: {error}.")
        system = self.config.systems[self.system]
        table = Table(
            entity=lookups.PREFIX + self.name,
            system=self.system,
            schema=options.schema_name,
            name=options.table,
            key=(info.columns[keys[0]],),
            columns=tuple(columns),
            types=tuple(types),
            info=info,
            capture=system.capture,  # without `modified` a watermark sees nothing: `Library` reads it from time to time
            triggers=system.triggers,
            write=False,
            timezone=system.timezone,
            creates=False,
            deletes=False,
        )
        return Lookup(table, where, roads.road(columns[0], "text", options.map, options.format or ()))


def nearest(name: str, known: Iterable[str]) -> str:
    """`Did you mean "x"?`, or nothing."""
    names = list(known)
    close = get_close_matches(name, names, 1) or [n for n in names if n.lower() == name.lower()]
    return f'Did you mean "{close[0]}"?' if close else ""


def _with_parents(entities: Mapping[str, Entity], only: Iterable[str]) -> set[str]:
    wanted: set[str] = set()
    left = [n for n in only if n in entities]
    while left:
        name = left.pop()
        if name not in wanted:
            wanted.add(name)
            left += [f.ref for f in entities[name].fields if f.ref]
    return wanted


def _required_circles(config: Config, out: Binding) -> None:
    """Entities that all need each other's key first can never be created; a self-reference is fine."""
    needs = {
        name: {
            f.ref: f.name
            for i, f in enumerate(entity.fields)
            if f.ref
            and f.ref != name
            and any((c := t.columns[i]) is not None and not c.nullable for t in entity.tables.values())
        }
        for name, entity in out.entities.items()
    }
    for name in needs:
        path = [name]
        while True:
            step = next((r for r in needs.get(path[-1], {}) if r == name or r not in path), None)
            if step is None:
                break
            path.append(step)
            if step == name:
                if name == min(path):
                    circle = " -> ".join(path)
                    message = f"these references are all required and go in a circle: {circle}."
                    hint = "Let one of the columns be empty, or leave one of the references out."
                    at = ("entities", name, "fields", needs[name][path[1]])
                    out.problems.append(config.problem(at, "circle", message, hint))
                break


class _Binder:
    """One entity."""

    def __init__(
        self,
        config: Config,
        entity: EntityConfig,
        infos: Mapping[tuple[str, str], TableInfo],
        references: Mapping[tuple[str, str], Lookup],
        out: Binding,
    ) -> None:
        self.references = references
        self.config, self.entity, self.out = config, entity, out
        self.infos = {s: infos[entity.name, s] for s in entity.systems if (entity.name, s) in infos}
        self.all_infos = infos

    def problem(self, path: tuple[str, ...], code: str, message: str, hint: str = "", **where: str) -> None:
        at = ("entities", self.entity.name, *path)
        self.out.problems.append(self.config.problem(at, code, message, hint, **where))

    def warn(self, path: tuple[str, ...], code: str, message: str, hint: str = "", **where: str) -> None:
        at = ("entities", self.entity.name, *path)
        self.out.warnings.append(self.config.problem(at, code, message, hint, **where))

    def run(self) -> Entity | None:
        if len(self.infos) < len(self.entity.systems):
            return None
        fields = [self.field(f) for f in self.entity.fields.values()]
        if any(f is None for f in fields):
            return None
        specs = tuple(f for f in fields if f is not None)
        tables = {s: self.table(s, t, specs) for s, t in self.entity.systems.items()}
        names = [f.name for f in specs]
        entity = self.entity
        return Entity(
            name=entity.name,
            fields=specs,
            tables={s: t for s, t in tables.items() if t is not None},
            match=tuple(tuple(names.index(n) for n in rule) for rule in entity.match),
            delete=dict(entity.delete),
            delete_conflict=entity.delete_conflict,
            create={s: self.create(s, specs) for s in entity.create},
            first_contact=entity.first_contact,
            units=_units(specs),
            tolerance=entity.tolerance,
        )

    # --- fields ----------------------------------------------------------------------------------------------------

    def field(self, f: FieldConfig) -> Field | None:
        columns = {s: self.column(f, s, name) for s, name in f.places.items()}
        if any(c is None for c in columns.values()):
            return None
        known = {s: c for s, c in columns.items() if c is not None}
        unsuited = [s for s, c in known.items() if not self.spelled(f, s, c)]
        if unsuited:
            return None
        given = "ref" if f.ref else "text" if f.lookup else None
        type_ = given or (self.declared(f, known) if f.type else self.settled(f, known))
        if type_ is None or (f.ref and not self.ref(f, known)):
            return None
        if f.conflict == "sum" and type_ not in ("int", "decimal"):
            self.problem(
                ("fields", f.name, "conflict"), "sum-type", f"sum needs a number, {f.name} is {type_}.", field=f.name
            )
            return None
        return Field(f.name, type_, f.scale, f.ref, f.owner, f.override, f.conflict, f.group, frozenset(f.lossy))

    def column(self, f: FieldConfig, system: str, name: str) -> Column | None:
        info = self.infos[system]
        column = info.columns.get(name)
        at = ("fields", f.name, system)
        if column is None:
            hint = nearest(name, info.columns) or f"The table has: {', '.join(list(info.columns)[:12])}."
            message = f"{info.name} in {system} has no column {name!r}."
            self.problem(at, "no-column", message, hint, system=system, field=f.name)
        elif not column.kind:
            message = f"{info.name}.{name} in {system} has a type that Accord does not know: {column.native}."
            self.problem(at, "unknown-type", message, "Leave the column out.", system=system, field=f.name)
            column = None
        return column

    def spelled(self, f: FieldConfig, system: str, column: Column) -> bool:
        """A map or format must suit the column, and every word of the other maps must have a value here."""
        if f.lookup:
            return self.looks_up(f, system)
        map, formats, at = f.maps.get(system, ()), f.formats.get(system, ()), ("fields", f.name, system)
        if (map or formats) and column.kind in ("bytes", "time"):
            message = f"{column.name} ({column.native}) can have neither a map nor a format."
            self.problem(at, "spelling", message, system=system, field=f.name)
            return False
        if formats and not map and column.kind != "text":
            message = f"a format is a way of spelling text, and {column.name} is {column.native}."
            hint = "Give the format in the places that hold text: { column = …, format = … }."
            self.problem(at, "format-column", message, hint, system=system, field=f.name)
            return False
        bad = [held for held, _ in map if held not in ("", roads.REST) and not roads.holds(column, held)]
        for held in bad:
            message = f"{column.name} ({column.native}) cannot hold {held!r}."
            self.problem((*at, "map", held), "map-value", message, system=system, field=f.name)
        return not bad and self.complete_map(f, system, column)

    def looks_up(self, f: FieldConfig, system: str) -> bool:
        """Was the reference table understood? A system without one holds the value itself."""
        spec = self.config.lookups[f.lookup or ""]
        return system not in spec.systems or (spec.name, system) in self.references

    def way(self, f: FieldConfig, system: str, column: Column, type: str) -> tuple[Road | None, Lookup | None]:
        """What lies between the column and the canonical value."""
        if not f.lookup:
            return roads.road(column, type, f.maps.get(system, ()), f.formats.get(system, ())), None
        lookup = self.references.get((f.lookup, system))
        if lookup is None:
            return roads.road(column, type, (), self.config.lookups[f.lookup].format), None
        return lookups.road(lookup), lookup

    def complete_map(self, f: FieldConfig, system: str, column: Column) -> bool:
        table = self.entity.systems[system]
        if system not in f.maps or not table.write or f.owner == system:
            return True
        words, missing = roads.Words(column, f.maps[system]), []
        for other, map in f.maps.items():
            missing += [w for held, w in map if other != system and w not in ("", roads.REST) and not words.has(w)]
        if missing:
            shown = ", ".join(f"{w!r}" for w in dict.fromkeys(missing))
            message = f"no value of {column.name} stands for {shown}, which another system's map gives."
            hint = f"Add it to the map of {system}, or let {system} own the field."
            self.problem(
                ("fields", f.name, system, "map"), "map-incomplete", message, hint, system=system, field=f.name
            )
        return not missing

    def declared(self, f: FieldConfig, columns: Mapping[str, Column]) -> str | None:
        assert f.type is not None
        bad = {
            s: c
            for s, c in columns.items()
            if s not in f.maps and s not in f.formats and c.kind not in CONVERTS[f.type]
        }
        for s, c in bad.items():
            message = f"{c.name} in {s} ({c.native}) cannot hold a value of type {f.type}."
            self.problem(("fields", f.name, "type"), "type", message, field=f.name, system=s)
        return None if bad else f.type

    def settled(self, f: FieldConfig, columns: Mapping[str, Column]) -> str | None:
        """The one type that the columns have in common; where they have none, a person must say it."""
        kinds = {roads.gives(c, f.maps.get(s, ()), f.formats.get(s, ())) for s, c in columns.items()}
        kinds = {CANONICAL.get(kind, kind) for kind in kinds}
        if len(kinds) == 1:
            return kinds.pop()
        if kinds <= {"int", "decimal"}:
            return "decimal"
        if kinds == {"bool", "int"} or kinds == {"bool", "text"}:
            return "bool"
        shown = ", ".join(f"{s}.{c.name} is {c.native}" for s, c in columns.items())
        message = f"the columns are of different types: {shown}."
        hint = 'Say which one the value is, e.g. type = "datetime".'
        self.problem(("fields", f.name), "type-conflict", message, hint, field=f.name)
        return None

    def ref(self, f: FieldConfig, columns: Mapping[str, Column]) -> bool:
        parent = self.config.entities[f.ref or ""]
        ok = True
        for s, column in columns.items():
            info = self.all_infos.get((parent.name, s))
            if info is None:
                continue
            keys = key_names(self.config, parent.systems[s], info)
            if len(keys) > 1:
                message = f"{parent.name} has a key of several columns in {s}, which a reference cannot hold."
                self.problem(("fields", f.name, "ref"), "composite-ref", message, field=f.name, system=s)
                ok = False
            elif keys and (k := info.columns.get(keys[0])) is not None and not _same_kind(k, column):
                message = f"{column.name} ({column.native}) cannot hold a key of {info.name} ({k.native})."
                self.problem(("fields", f.name, s), "ref-type", message, field=f.name, system=s)
                ok = False
        return ok

    def create(self, system: str, specs: tuple[Field, ...]) -> bool | Expression:
        """May records be created there? A condition is judged by the types that the columns give."""
        said = self.entity.create[system]
        return said if isinstance(said, bool) else self.condition(("create", system), said, specs)

    def condition(self, path: tuple[str, ...], text: str, specs: tuple[Field, ...]) -> Expression | bool:
        """False: it does not fit, which is reported. A field of systems that were left out has no type."""
        types = {f.name: f.type if self.entity.fields[f.name].places else None for f in specs}
        try:
            return condition(text, types)
        except ExpressionError as error:
            self.problem(path, "expression", str(error))
            return False

    # --- tables ----------------------------------------------------------------------------------------------------

    def table(self, system: str, t: TableConfig, specs: tuple[Field, ...]) -> Table | None:
        info, defaults = self.infos[system], self.config.systems[system].defaults
        before = len(self.out.problems)
        key = self.key(system, t, info)
        modified = self.modified(system, t, info, defaults)
        insert = {c: v for c, v in defaults.insert.items() if c in info.columns} | dict(t.insert)
        stamp = {c: v for c, v in defaults.stamp.items() if c in info.columns} | dict(t.stamp)
        for option, constants in (
            ("archive", t.archive),
            ("restore", t.restore),
            ("insert", t.insert),
            ("stamp", t.stamp),
        ):
            for c in constants:
                if c not in info.columns:
                    message = f"{info.name} in {system} has no column {c!r}."
                    self.problem((system, option), "no-column", message, nearest(c, info.columns), system=system)
        restore = dict(t.restore) or self.opposite(system, t)
        blank = t.blank if t.blank is not None else defaults.blank
        new_key = t.new_key or defaults.new_key
        if len(self.out.problems) > before:
            return None
        fields, policy = self.entity.fields, self.entity.delete.get(system, "review")
        columns = tuple(
            info.columns[fields[f.name].places[system]] if system in fields[f.name].places else None for f in specs
        )
        pairs = [
            (None, None) if c is None else self.way(fields[f.name], system, c, f.type)
            for c, f in zip(columns, specs, strict=True)
        ]
        ways, references = tuple(way for way, _ in pairs), tuple(lookup for _, lookup in pairs)
        table = Table(
            entity=self.entity.name,
            system=system,
            schema=t.schema_name,
            name=t.table,
            key=key,
            columns=columns,
            types=tuple(f.type if way is None else way.type for f, way in zip(specs, ways, strict=True)),
            info=info,
            new_key=new_key,
            modified=modified,
            archive=dict(t.archive),
            restore=restore,
            insert={**restore, **insert} if t.archive else insert,
            stamp=stamp,
            blank=None if blank == "null" else blank,
            capture=t.capture,
            triggers=t.triggers,
            write=t.write,
            timezone=self.config.systems[system].timezone,
            roads=ways if any(ways) else (),
            lookups=references if any(references) else (),
            creates=t.write and self.entity.create.get(system, True) is not False,
            deletes=t.write and (policy == "propagate" or (policy == "review" and not t.archive)),
        )
        self.warn_unfilled(table)
        return table

    def key(self, system: str, t: TableConfig, info: TableInfo) -> tuple[Column, ...]:
        names = key_names(self.config, t, info)
        if not names:
            message = f"{info.name} in {system} has no primary key."
            hint = 'Name the columns that identify a row: key = "…"; they need a unique index.'
            self.problem((system, "table"), "no-primary-key", message, hint, system=system)
            return ()
        missing = [n for n in names if n not in info.columns]
        for n in missing:
            message = f"{info.name} in {system} has no column {n!r}."
            self.problem((system, "key"), "no-column", message, nearest(n, info.columns), system=system)
        unique = [set(info.primary_key), *(set(u) for u in info.unique)]
        if not missing and not any(u and u <= set(names) for u in unique):
            message = f"{', '.join(names)} is not unique in {info.name} ({system}): no unique index covers it."
            hint = (
                f"The primary key is {', '.join(info.primary_key)}." if info.primary_key else "Create a unique index."
            )
            self.problem((system, "key"), "key-not-unique", message, hint, system=system)
        return tuple(info.columns[n] for n in names if n in info.columns)

    def modified(self, system: str, t: TableConfig, info: TableInfo, defaults: DefaultOptions) -> str | None:
        if t.modified is not None:
            if not t.modified.startswith("sql:") and t.modified not in info.columns:
                message = f"{info.name} in {system} has no column {t.modified!r}."
                self.problem(
                    (system, "modified"), "no-column", message, nearest(t.modified, info.columns), system=system
                )
            return t.modified
        named = defaults.modified
        if named is None or named.startswith("sql:"):
            return named
        return named if named in info.columns else None

    def opposite(self, system: str, t: TableConfig) -> dict[str, Value]:
        """How an archived record comes alive again, where that is plain: the opposite of a flag."""
        out: dict[str, Value] = {}
        for column, value in t.archive.items():
            if isinstance(value, (bool, str)) and value in OPPOSITE:
                out[column] = OPPOSITE[value]
            elif isinstance(value, int) and value in (0, 1):
                out[column] = 1 - value
            else:
                message = f"{column} = {value!r} has no plain opposite."
                hint = f"Say how an archived record comes alive again: restore = {{ {column} = … }}."
                self.problem((system, "archive"), "no-restore", message, hint, system=system)
        return out

    def warn_unfilled(self, table: Table) -> None:
        """A required column that nothing fills makes every creation there fail."""
        if not table.creates:
            return
        mapped = {c.name for c in table.columns if c is not None}
        filled = mapped | set(table.insert) | set(table.stamp) | {c.name for c in table.key}
        missing = [
            c.name for c in table.info.columns.values() if not c.nullable and not c.has_default and c.name not in filled
        ]
        if missing:
            names = ", ".join(missing)
            message = f"{names} in {table.name} may not be empty, and nothing fills it when Accord creates a row."
            hint = f"Map it, or say insert = {{ {missing[0]} = … }}."
            self.warn((table.system,), "not-filled", message, hint, system=table.system)


def key_names(config: Config, t: TableConfig, info: TableInfo) -> tuple[str, ...]:
    """The key as written, else the system's default where the table has it, else the primary key."""
    if t.key:
        return t.key
    default = config.systems[t.system].defaults.key
    if default and all(c in info.columns for c in default):
        return default
    return info.primary_key


def _units(specs: tuple[Field, ...]) -> tuple[tuple[int, ...], ...]:
    groups: dict[str, list[int]] = {}
    for i, f in enumerate(specs):
        groups.setdefault(f"group {f.group}" if f.group else f"field {f.name}", []).append(i)
    return tuple(tuple(g) for g in groups.values())


def _same_kind(a: Column, b: Column) -> bool:
    return a.kind == b.kind or {a.kind, b.kind} <= {"int", "decimal"} or "text" in (a.kind, b.kind)
