"""The configuration: what may be written, and what it means.

Each section has two classes. `…Options` holds exactly the keys that a person may write in it, in the order of the
reference. `…Config` is what the rest of Accord reads: the same, with its name, and with everything resolved that
follows from other sections (defaults, absolute paths). All durations are microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from config import values as v
from config.errors import ConfigError, Problem
from config.lines import Source
from config.records import Value
from config.secrets import SecretError, read_secret
from config.urls import Target, parse_url

SECOND = 1_000_000


class Options(BaseModel):
    """What all sections have in common: an unknown key is an error, and nothing changes after loading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, validate_by_name=True, validate_by_alias=True
    )


class AgentOptions(Options):
    """`[agent]`: this agent, and what holds for all systems and entities unless they say otherwise."""

    name: Annotated[str, v.AGENT_NAME]
    """What the agent is called; stands in every database it writes to, where another name is refused."""
    state: Annotated[Path, v.STATE] = Path("state.db")
    """The file in which the agent remembers; a relative path starts at this folder."""
    prefix: Annotated[str, v.PREFIX] = "accord"
    """Begins the names of all that `accord prepare` makes in a database."""
    poll: v.Duration = SECOND
    """How often a system is asked for changes when nothing wakes the agent (its triggers do)."""
    tolerance: v.Duration = SECOND
    """Edits of one field within this time count as simultaneous."""
    batch: Annotated[int, v.ROWS] = 2000
    """Records that one round takes at most."""
    sweep: Annotated[str, v.SCHEDULE] = "daily 03:00"
    """When all rows are compared with what was last seen of them, for what no capture shows (deletes under
    `watermark`, triggers that somebody switched off for a while), in the time zone of this machine. A sweep that was
    missed is made up."""


class SweepOptions(Options):
    """`[sweep]`: how much a sweep, which compares all rows of a table, may ask of a system."""

    rows_per_second: Annotated[int, v.RATE] = 5000
    """Rows that sweeps read in a second at most."""
    blind: v.Duration = 600 * SECOND
    """How long after a sweep the next one follows while changes are not captured (the triggers are gone)."""


class LogOptions(Options):
    """`[log]`: what a database may have to keep for this agent."""

    max_backlog: Annotated[int, v.SIZE] = 2 * 10**9
    """Changes that wait in one database, in its change log or in its own log, may take about so much room. Of more
    Accord lets go, and compares all rows instead; at half of it, it warns."""


class DefaultOptions(Options):
    """`[systems.S.defaults]`: for each table of this system that has the column and does not say otherwise."""

    key: Annotated[tuple[str, ...] | None, v.KEY] = None
    """Key column, or columns."""
    new_key: Annotated[str | None, v.NEW_KEY] = None
    """How Accord makes a key for a new row; left out: the database does."""
    modified: Annotated[str | None, v.COLUMN_OR_SQL] = None
    """When the row was last changed."""
    blank: Annotated[str | None, v.choice("", "null")] = None
    """How an empty text is stored: as `""` or as NULL; left out: NULL, or `""` where the column allows no NULL."""
    insert: Annotated[dict[str, Value], v.CONSTANTS] = {}
    """Written only when Accord creates the row."""
    stamp: Annotated[dict[str, Value], v.CONSTANTS] = {}
    """Written whenever Accord writes the row."""


class SystemOptions(Options):
    """`[systems.S]`: a database that takes part. The order of the systems breaks ties."""

    url: Annotated[str, v.URL]
    """Where it is: `postgresql://user@host:port/database`, `mysql://…` or `mariadb://…`, `sqlite:PATH` (a relative
    path starts at this folder). After `?`: `socket`, and for encryption `sslmode`, `sslrootcert`, `sslcert`, `sslkey`
    (PostgreSQL) or `ssl_ca`, `ssl_cert`, `ssl_key` (MariaDB)."""
    password: Annotated[str | None, v.REFERENCE_FORM] = None
    """Where the password is: `file:/…` (readable by its owner only), `env:NAME` or `credential:NAME` (systemd)."""
    capture: Annotated[str, v.choice("trigger", "watermark", "log")] = "trigger"
    """How changes are seen: triggers that `accord prepare` makes, polls of each table's `modified`, or the database's
    own log (PostgreSQL's, by logical replication; MariaDB's binary log; `accord check` says what the server needs for
    it)."""
    triggers: Annotated[str, v.choice("row", "statement")] = "row"
    """PostgreSQL: how often its triggers fire. With `statement` an application that writes many rows at a time is about
    twice as fast as with `row`, and one that writes single rows is a fifth slower. Tables for which this cannot be done
    (partitioned ones, heirs, keys whose uniqueness is checked late) keep `row`."""
    timezone: Annotated[str, v.TIMEZONE] = "UTC"
    """Of date-times that are stored without one."""
    stale_window: Annotated[int, v.WINDOW] = 0
    """A value that Accord replaced is taken for a stale save when it comes back within this time; for applications
    that save whole rows."""
    poll: Annotated[int | None, v.DURATION] = None
    """How often this system is asked for changes when nothing wakes the agent; left out: as `[agent]` says."""
    write: v.Switch = True
    """`false`: read, never written; a pilot starts there."""
    overlap: v.Duration = 5 * SECOND
    """Watermark only: how much older a row's stamp may be than its transaction (the application's clock); where the
    account may not see open transactions (`accord check` says so), how late a row may commit."""
    lock_timeout: v.Duration = 5 * SECOND
    """How long a statement of Accord's may wait for a lock."""
    statement_timeout: v.Duration = 60 * SECOND
    """How long a statement of Accord's may take."""
    defaults: DefaultOptions = DefaultOptions()
    """What holds for its tables unless they say otherwise."""


class TableOptions(Options):
    """`[ENTITY.S]`: the table that holds the records in one system. What is left out comes from
    `[systems.S.defaults]`."""

    table: v.Text
    """The table."""
    schema_name: Annotated[str | None, v.TEXT] = Field(default=None, alias="schema")
    """Its schema; left out: the account's own."""
    key: Annotated[tuple[str, ...] | None, v.KEY] = None
    """Key column, or columns, with a unique index; left out: the primary key."""
    new_key: Annotated[str | None, v.NEW_KEY] = None
    """How Accord makes a key for a new row; left out: the database does."""
    modified: Annotated[str | None, v.COLUMN_OR_SQL] = None
    """When the row was last changed; watermark capture needs it."""
    archive: Annotated[dict[str, Value], v.CONSTANTS] = {}
    """How a record is archived here; such a row counts as gone."""
    restore: Annotated[dict[str, Value], v.CONSTANTS] = {}
    """How an archived record is made alive again; left out: the opposite of `archive`."""
    insert: Annotated[dict[str, Value], v.CONSTANTS] = {}
    """Written only when Accord creates the row."""
    stamp: Annotated[dict[str, Value], v.CONSTANTS] = {}
    """Written whenever Accord writes the row."""
    blank: Annotated[str | None, v.choice("", "null")] = None
    """How an empty text is stored: as `""` or as NULL; left out: NULL, or `""` where the column allows no NULL."""
    capture: Annotated[str | None, v.choice("trigger", "watermark", "log")] = None
    """How changes are seen; left out: as its system says."""
    triggers: Annotated[str | None, v.choice("row", "statement")] = None
    """PostgreSQL: how often the triggers fire; left out: as its system says."""
    write: v.Switch = True
    """`false`: read, never written. A system that is never written has no table that is."""


class FieldOptions(Options):
    """`[ENTITY.fields]`: one attribute, as `NAME = { SYSTEM = "column", SYSTEM = "column", … }` or on several lines as
    `[ENTITY.fields.NAME]`. Beside the columns:"""

    owner: Annotated[str | None, v.SYSTEM] = None
    """The system that has the say; left out: as the entity says."""
    override: Annotated[str | None, v.choice("restore", "tolerate")] = None
    """What becomes of an edit by another system than the owner; left out: as the entity says."""
    conflict: Annotated[str | None, v.CONFLICT] = None
    """Who wins when two systems changed it; left out: as the entity says."""
    ref: Annotated[str | None, v.TEXT] = None
    """The entity whose record's key the columns hold."""
    lookup: Annotated[str | None, v.TEXT] = None
    """The lookup whose rows' keys the columns hold."""
    format: Annotated[tuple[str, ...], v.FORMAT] = ()
    """What makes spellings comparable, in all systems that do not say their own (`{ column = "…", format = … }`); one,
    or several in order: see formats.md. Each system keeps its own spelling while the values are equal."""
    type: Annotated[str | None, v.TYPE] = None
    """What the value is, where the columns do not say it; `decimal(2)` is rounded to two digits after the point."""
    group: Annotated[str | None, v.TEXT] = None
    """Fields with one group are merged and compared as one value (amount and currency)."""
    lossy: Annotated[frozenset[str], v.SYSTEMS] = frozenset()
    """Systems that may store the value cut, rounded or without some characters; the agreed value stays whole."""


class ReferenceOptions(Options):
    """`[lookups.L.S]`: the reference table in one system. A system without one holds the value itself."""

    table: v.Text
    """The table."""
    schema_name: Annotated[str | None, v.TEXT] = Field(default=None, alias="schema")
    """Its schema; left out: the account's own."""
    key: Annotated[str | None, v.COLUMN] = None
    """The column that other tables hold; left out: the primary key."""
    value: Annotated[str, v.COLUMN]
    """The column with the code or name that is agreed."""
    where: Annotated[dict[str, Value], v.CONSTANTS] = {}
    """Only rows with these values count."""
    map: Annotated[v.Map, v.MAP] = ()
    """What `value` holds = the agreed word."""
    format: Annotated[tuple[str, ...] | None, v.FORMAT] = None
    """What makes spellings comparable in this system; left out: as the lookup says."""


class LookupOptions(Options):
    """`[lookups.L]`, in a file of `entities/`: columns of several systems hold keys of rows in tables of their own, and
    what is agreed is those rows' code or name. A field says `lookup = "L"`."""

    format: Annotated[tuple[str, ...], v.FORMAT] = ()
    """What makes spellings comparable (`"country"`: Germany, DE and DEU are one), in all systems that do not say their
    own."""


class EntityOptions(Options):
    """`[ENTITY]`: a kind of business record that is kept in agreement."""

    match: Annotated[tuple[tuple[str, ...], ...], v.RULES] = ()
    """Which records of different systems are the same: rules in order, each a list of fields that must all be equal."""
    delete: Annotated[str | dict[str, str], v.DELETE] = "review"
    """What happens in a system when the record is gone from another: `propagate` deletes it there too, `archive` writes
    what its table says, `ignore` leaves it, `review` asks a person."""
    delete_conflict: Annotated[str, v.choice("update_wins", "delete_wins", "review")] = "review"
    """Who wins when a record was changed in one system and deleted in another."""
    owner: Annotated[str | None, v.SYSTEM] = None
    """The system that has the say over every field that it holds and that names no owner."""
    override: Annotated[str, v.choice("restore", "tolerate")] = "restore"
    """What becomes of an edit by another system than the owner: `restore` writes the owner's value back, `tolerate`
    leaves it until the owner next changes the field."""
    conflict: Annotated[str, v.CONFLICT] = "latest"
    """Who wins when two systems changed a field: the `latest` edit, one system, nobody (`sum` adds up what each did to
    a counter), or whom a person says (`review`)."""
    create: Annotated[bool | str | dict[str, bool | str], v.CREATE] = True
    """May Accord create records there? A condition over the fields ([expressions](expressions.md)) is asked again at
    each change of the record until it holds; what exists already is not touched by it."""
    first_contact: Annotated[str, v.choice("plan", "auto")] = "plan"
    """`plan`: nothing is written before `accord plan --accept`."""
    tolerance: Annotated[int | None, v.DURATION] = None
    """Edits of one field within this time count as simultaneous; left out: as `[agent]` says."""
    sweep: Annotated[str | None, v.SCHEDULE] = None
    """When all its rows are compared; left out: as `[agent]` says."""


# --- resolved --------------------------------------------------------------------------------------------------------


class AgentConfig(AgentOptions):
    """`[agent]`, with `state` absolute."""


class SystemConfig(SystemOptions):
    """A system, with its name, and all that is needed to connect to it."""

    name: str
    poll: int
    folder: Path
    environ: Mapping[str, str] = Field(repr=False)
    at: tuple[str | None, int | None]
    """Display file and line of the password, for messages."""

    @cached_property
    def _parsed(self) -> tuple[str, Target]:
        return parse_url(self.url, self.folder)

    @property
    def dialect(self) -> str:
        """ "sqlite", "postgresql" or "mysql"."""
        return self._parsed[0]

    @property
    def target(self) -> Target:
        """SQLite: `path`. Others: `host`, `port`, `user`, `database`, `socket`, `options`."""
        return self._parsed[1]

    def secret(self) -> str | None:
        """The password, resolved now; None if none is set. Raises `ConfigError` with what to do."""
        if self.password is None:
            return None
        try:
            return read_secret(self.password, self.folder, self.environ)
        except SecretError as e:
            message = f"systems.{self.name}.password: {e.message}"
            raise ConfigError(Problem("secret", message, e.hint, *self.at, system=self.name)) from None


class TableConfig(TableOptions):
    """One entity in one system. `capture` and `write` are resolved; key, new_key, modified, blank, insert and stamp are
    as written: `SystemConfig.defaults` holds only for tables that have the column."""

    entity: str
    system: str
    capture: str
    triggers: str


class FieldConfig(FieldOptions):
    """One attribute. owner, override and conflict are resolved; `type` is one word ("decimal"), `scale` beside it."""

    name: str
    places: dict[str, str]
    """System -> column, in the order of the file."""
    maps: dict[str, v.Map]
    """System -> (what it holds, the agreed word), of those that have a map."""
    formats: dict[str, tuple[str, ...]]
    """System -> formats in order, of those that have any."""
    override: str
    conflict: str
    scale: int | None
    """Of `decimal(n)`."""


class LookupConfig(LookupOptions):
    """One lookup; the formats of its tables are resolved."""

    name: str
    systems: dict[str, ReferenceOptions]


class EntityConfig(EntityOptions):
    """One entity, with its tables and fields in the order of the file."""

    name: str
    systems: dict[str, TableConfig]
    """In the order of the systems in accord.toml."""
    fields: dict[str, FieldConfig]
    delete: dict[str, str]
    """Of every system."""
    create: dict[str, bool | str]
    """Of every system; a text is a condition; as written, a system that is never written included."""
    tolerance: int
    sweep: str


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration, valid as far as that can be told without a database."""

    agent: AgentConfig
    sweep: SweepOptions
    log: LogOptions
    systems: dict[str, SystemConfig]  # in the order of the file
    entities: dict[str, EntityConfig]  # in the order of the files
    folder: Path
    file: Path
    source: Source  # of accord.toml
    sources: Mapping[str, Source] = field(default_factory=dict)  # by entity, and "lookups"
    lookups: Mapping[str, LookupConfig] = field(default_factory=dict)

    def where(self, *path: str) -> tuple[str | None, int | None]:
        """Display file and line of a key, e.g. ("entities", "customer", "crm", "table") or ("systems", "crm", "url").

        A key that is not written stands at the nearest section above it.
        """
        return locate(self.source, self.sources, path)

    def problem(self, path: tuple[str, ...], code: str, message: str, hint: str = "", **where: Any) -> Problem:
        """A problem at a key (as in `where`); its message begins with the key: `customer.crm.table: …`.

        `where` may name system, entity, key and field beside what the path says.
        """
        return problem_at(self.where(*path), path, code, message, hint, **where)


def locate(source: Source, sources: Mapping[str, Source], path: tuple[str, ...]) -> tuple[str | None, int | None]:
    """Display file and line of a key, or of the nearest section above it."""
    if path[:1] == ("entities",):
        found = sources.get(path[1]) if len(path) > 1 else None
        return (found.name, found.line(path[1:])) if found else (None, None)
    return source.name, source.line(path)


def problem_at(
    at: tuple[str | None, int | None], path: tuple[str, ...], code: str, message: str, hint: str = "", **where: Any
) -> Problem:
    """A problem whose message begins with the key, and that names what the path names."""
    keys = path[1:] if path[:1] == ("entities",) else path
    known: dict[str, Any] = {}
    if path[:1] == ("systems",) and len(path) > 1:
        known["system"] = path[1]
    if path[:1] == ("entities",) and keys:
        known["entity"] = keys[0]
        if keys[1:2] == ("fields",) and len(keys) > 2:
            known["field"] = keys[2]
    text = f"{'.'.join(keys)}: {message}" if keys else message
    return Problem(code, text, hint, *at, **(known | where))
