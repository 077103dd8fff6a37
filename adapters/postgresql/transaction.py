"""One transaction that writes, under the fence (I9); open until `commit`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from adapters.bisect import Refusal, settle
from adapters.postgresql.bound import Bound
from adapters.postgresql.errors import refusal
from adapters.postgresql.inserts import Inserts
from adapters.postgresql.links import Links
from adapters.postgresql.session import Session
from adapters.postgresql.sql import array, own, unnest
from adapters.postgresql.updates import Batch
from config.errors import Problem, Taken
from config.records import Crosswalk, Fence, Key, Landing, Outcome, Write, WriteKind

BEGIN = ("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", "SET CONSTRAINTS ALL IMMEDIATE")
# A constraint that is checked at COMMIT would refuse the whole round; checked at once, it refuses one record.


class PostgresTransaction:
    """See `adapters.ports.Transaction`."""

    def __init__(
        self,
        session: Session,
        prefix: str,
        system: str,
        bounds: dict[str, Bound],
        disturbed: Counter[str],
        expect: Callable[[int, list[tuple[str, Key]]], None],
        fence: Fence,
    ) -> None:
        self._session = session
        self._prefix = prefix
        self._system = system
        self._bounds = bounds
        self._disturbed = disturbed
        self._links = Links(session, prefix)
        self._noisy: dict[str, bool] = {}
        self._expect = expect  # told before it is committed: its number, and the rows that it has written
        self._number = 0
        self._written: list[tuple[str, Key]] = []
        self._begin(fence)

    def _begin(self, fence: Fence) -> None:
        session, table = self._session, own(self._prefix, "fence")
        for text in BEGIN:
            session.later(text)
        # The mark is what the triggers know us by; it ends with the transaction.
        found = session.query(
            f"WITH f AS (UPDATE {table} SET round = $1 WHERE agent = $2 AND epoch = $3 RETURNING 1)"
            " SELECT set_config($4, $2, true), pg_current_xact_id()::text FROM f",
            [str(fence.round), fence.agent, str(fence.epoch), f"{self._prefix}.agent"],
        )
        if not found:
            error = taken(session, self._prefix)
            self.rollback()
            raise error
        self._number = int(found[0][1])

    # --- the port ----------------------------------------------------------------------------------------------------

    def apply(self, entity: str, writes: Sequence[Write]) -> list[Outcome]:
        with self._session.errors():
            bound = self._bounds[entity]
            if bound.tag not in self._noisy:
                self._noisy[bound.tag] = self._has_triggers(bound)
            batch = Batch(self._session, bound, writes, self._disturbed, self._noisy[bound.tag])
            inserts = Inserts(self._session, self._links, bound, self._system, writes, self._noisy[bound.tag])

            def attempt(some: Sequence[int]) -> list[Outcome]:
                # New rows first: others may refer to them; what goes, goes last.
                found: dict[int, Outcome] = {}
                fresh = [i for i in some if writes[i].kind is WriteKind.INSERT]
                found.update(zip(fresh, inserts.run(fresh), strict=True))
                found.update(batch.run([i for i in some if writes[i].kind is not WriteKind.INSERT]))
                return [found[i] for i in some]

            done = settle(range(len(writes)), attempt, self._session.savepoint, refusal, batch.loosen)
            outcomes = [_rejected(w, d) if isinstance(d, Refusal) else d for w, d in zip(writes, done, strict=True)]
            self._move(entity, writes, outcomes)
            if bound.table.capture == "log":
                self._note(bound, writes, outcomes)
            if self._noisy[bound.tag] and bound.table.capture == "trigger":
                self._drop_echo(bound, outcomes)
            return outcomes

    def _move(self, entity: str, writes: Sequence[Write], outcomes: Sequence[Outcome]) -> None:
        """A field that was written is part of the key: the row has a new key, and its link goes with it."""
        moved = [
            (w.key, o.key)
            for w, o in zip(writes, outcomes, strict=True)
            if o.landing is Landing.LANDED and w.kind is not WriteKind.INSERT and w.key and o.key and w.key != o.key
        ]
        if moved:
            self._links.move(entity, self._system, moved)

    def _note(self, bound: Bound, writes: Sequence[Write], outcomes: Sequence[Outcome]) -> None:
        """What the log will tell of these writes: one entry for each row, two where its key changes. It may tell more
        (of rows that swap values): that is looked at, and found to be nothing new."""
        for write, outcome in zip(writes, outcomes, strict=True):
            if outcome.landing is not Landing.LANDED or outcome.key is None:
                continue
            if write.kind is not WriteKind.UPDATE or write.values or bound.table.stamp:
                self._written.append((bound.tag, outcome.key))
                if write.key is not None and write.key != outcome.key:
                    self._written.append((bound.tag, write.key))

    def link(self, rows: Sequence[Crosswalk]) -> list[Crosswalk]:
        with self._session.errors():
            return self._links.write(rows)

    def unlink(self, rows: Sequence[Crosswalk]) -> None:
        with self._session.errors():
            self._links.remove(rows)

    def commit(self) -> None:
        self._expect(self._number, self._written)
        self._session.commit()

    def rollback(self) -> None:
        self._session.rollback()

    # --- what the application's own triggers do ----------------------------------------------------------------------

    def _has_triggers(self, bound: Bound) -> bool:
        """Has the table triggers, other than ours, that run after a row was written? Then RETURNING does not show the
        last word."""
        rows = self._session.raw(
            "SELECT EXISTS (SELECT 1 FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid"
            " JOIN pg_namespace n ON n.oid = p.pronamespace WHERE g.tgrelid = $1::regclass AND NOT g.tgisinternal"
            " AND g.tgenabled <> 'D' AND g.tgtype & 2 = 0 AND n.nspname <> $2)",
            [bound.name, self._prefix],
        )
        return bool(rows[0][0])

    def _drop_echo(self, bound: Bound, outcomes: Sequence[Outcome]) -> None:
        """What such a trigger did to the very rows that we wrote is known from the read-back."""
        keys = [o.key for o in outcomes if o.landing is Landing.LANDED and o.key is not None]
        self._session.raw(
            f"DELETE FROM {own(self._prefix, 'changes')} c USING {unnest(['k'])}"
            " WHERE c.own AND c.txn = txid_current() AND c.tbl = $2 AND c.key = s.k",
            [array(keys), bound.tag],
        )


def _rejected(write: Write, refused: Refusal) -> Outcome:
    return Outcome(Landing.REJECTED, write.key, message=refused.message, hint=refused.hint)


def taken(session: Session, prefix: str) -> Taken:
    """Who stands in the fence (I9), for a person."""
    rows = session.query(f"SELECT agent, epoch FROM {own(prefix, 'fence')}")
    who = f"agent {rows[0][0]!r} (start {rows[0][1]})" if rows else "nobody"
    message = f"the fence there belongs to {who} now: another agent writes to this database, or has started since"
    return Taken(Problem("taken", message, "let only one agent run; `accord status` tells which", system=session.name))
