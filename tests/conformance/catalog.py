"""What a PostgreSQL database holds, by its own catalog: for servers that are newer than the pg_dump at hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

OURS = "NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"

OBJECTS = f"""
SELECT concat_ws(' ', 'schema', n.nspname, n.nspowner::regrole,
    (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(coalesce(nspacl, acldefault('n', nspowner))) a))
FROM pg_namespace n WHERE n.nspname {OURS}
UNION ALL SELECT concat_ws(' ', 'relation', c.relkind, c.oid::regclass, c.relowner::regrole, c.relpersistence,
    c.relreplident, c.reloptions, c.relrowsecurity, pg_get_viewdef(c.oid),
    (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(
        coalesce(relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))) a))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname {OURS}
UNION ALL SELECT concat_ws(' ', 'column', c.oid::regclass, a.attnum, a.attname,
    format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated, a.attacl,
    pg_get_expr(d.adbin, d.adrelid))
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped AND n.nspname {OURS}
UNION ALL SELECT concat_ws(' ', 'index', pg_get_indexdef(i.indexrelid), i.indisreplident)
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname {OURS}
UNION ALL SELECT concat_ws(' ', 'constraint', k.conname, k.conrelid::regclass, pg_get_constraintdef(k.oid))
FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace WHERE n.nspname {OURS}
UNION ALL SELECT concat_ws(' ', 'trigger', pg_get_triggerdef(t.oid), t.tgenabled)
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal AND n.nspname {OURS}
UNION ALL SELECT concat_ws(' ', 'routine', pg_get_functiondef(p.oid), p.proowner::regrole,
    (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(coalesce(proacl, acldefault('f', proowner))) a))
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.prokind IN ('f', 'p') AND n.nspname {OURS}
UNION ALL SELECT concat_ws(' ', 'type', t.oid::regtype, t.typtype)
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname {OURS}
UNION ALL SELECT concat_ws(' ', 'comment', pg_describe_object(classoid, objoid, objsubid), description)
FROM pg_description WHERE objoid >= 16384
UNION ALL SELECT concat_ws(' ', 'publication', p.pubname, p.pubowner::regrole, p.puballtables, p.pubinsert,
    p.pubupdate, p.pubdelete, p.pubtruncate, p.pubviaroot) FROM pg_publication p
UNION ALL SELECT concat_ws(' ', 'published', p.pubname, r.prrelid::regclass)
FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
UNION ALL SELECT concat_ws(' ', 'event trigger', evtname, evtevent, evtfoid::regproc) FROM pg_event_trigger
UNION ALL SELECT concat_ws(' ', 'extension', extname, extversion) FROM pg_extension
ORDER BY 1
"""


def objects(sql: Callable[[str], list[tuple[Any, ...]]]) -> list[str]:
    """One text for each object, with its definition, owner and rights."""
    return [text for (text,) in sql(OBJECTS)]
