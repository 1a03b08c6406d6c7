"""The schema's history: numbered steps, each applied in one transaction, the same numbers in every database.

A step that was released is never changed; a further change is a further step.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: its statements for each database. A step may be empty for a database that never had what it mends.

    `chains`: every entry that is there gets its link after the statements.
    """

    number: int
    sqlite: tuple[str, ...]
    postgresql: tuple[str, ...]
    chains: bool = False


MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        1,
        sqlite=(
            """
            CREATE TABLE IF NOT EXISTS events (
                event_id INTEGER PRIMARY KEY,
                at REAL NOT NULL,
                kind TEXT NOT NULL,
                node TEXT NOT NULL,
                incident_id TEXT NOT NULL,
                body BLOB NOT NULL
            ) STRICT
            """,
            "CREATE INDEX IF NOT EXISTS events_by_node ON events (node, event_id) WHERE node != ''",
            "CREATE INDEX IF NOT EXISTS events_by_incident ON events (incident_id, event_id) WHERE incident_id != ''",
            """
            CREATE TABLE IF NOT EXISTS receipts (
                node TEXT NOT NULL,
                boot_id TEXT NOT NULL,
                seq INTEGER NOT NULL,
                PRIMARY KEY (node, boot_id, seq)
            ) WITHOUT ROWID, STRICT
            """,
            "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
        ),
        postgresql=(
            """
            CREATE TABLE events (
                event_id BIGINT PRIMARY KEY,
                at DOUBLE PRECISION NOT NULL,
                kind TEXT NOT NULL,
                node TEXT NOT NULL,
                incident_id TEXT NOT NULL,
                body TEXT NOT NULL
            )
            """,
            "CREATE INDEX events_by_node ON events (node, event_id) WHERE node <> ''",
            "CREATE INDEX events_by_incident ON events (incident_id, event_id) WHERE incident_id <> ''",
            "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITH (fillfactor = 50)",
        ),
    ),
    Migration(
        2,
        sqlite=(
            """
            CREATE TABLE taken (
                node TEXT NOT NULL,
                boot_id TEXT NOT NULL,
                numbers TEXT NOT NULL,
                heard_at REAL NOT NULL,
                PRIMARY KEY (node, boot_id)
            ) WITHOUT ROWID, STRICT
            """,
            # Numbers without a gap between them differ from their rank by the same amount.
            """
            INSERT INTO taken
            SELECT node, boot_id, group_concat(first || '-' || last), CAST(strftime('%s', 'now') AS REAL) FROM (
                SELECT node, boot_id, min(seq) AS first, max(seq) AS last FROM (
                    SELECT node, boot_id, seq,
                        seq - row_number() OVER (PARTITION BY node, boot_id ORDER BY seq) AS run
                    FROM receipts WHERE seq > 0
                ) GROUP BY node, boot_id, run
            ) GROUP BY node, boot_id
            """,
            "DROP TABLE receipts",
            """
            CREATE TABLE snapshots (
                event_id INTEGER PRIMARY KEY,
                at REAL NOT NULL,
                version INTEGER NOT NULL,
                parts INTEGER NOT NULL
            ) STRICT
            """,
            """
            CREATE TABLE snapshot_parts (
                event_id INTEGER NOT NULL,
                part INTEGER NOT NULL,
                body BLOB NOT NULL,
                PRIMARY KEY (event_id, part)
            ) STRICT
            """,
            "INSERT OR IGNORE INTO facts VALUES ('term', '0')",
        ),
        postgresql=(
            """
            CREATE TABLE taken (
                node TEXT NOT NULL,
                boot_id TEXT NOT NULL,
                numbers TEXT NOT NULL,
                heard_at DOUBLE PRECISION NOT NULL,
                PRIMARY KEY (node, boot_id)
            ) WITH (fillfactor = 70)
            """,
            """
            CREATE TABLE snapshots (
                event_id BIGINT PRIMARY KEY,
                at DOUBLE PRECISION NOT NULL,
                version INTEGER NOT NULL,
                parts INTEGER NOT NULL
            )
            """,
            """
            CREATE TABLE snapshot_parts (
                event_id BIGINT NOT NULL,
                part INTEGER NOT NULL,
                body BYTEA NOT NULL,
                PRIMARY KEY (event_id, part)
            )
            """,
            "ALTER TABLE snapshot_parts ALTER COLUMN body SET STORAGE EXTERNAL",
            "INSERT INTO facts VALUES ('term', '0')",
            # Called first in every commit. It waits for a term that is just beginning, and refuses what is too late:
            # a controller that was cut off or asleep cannot write, whatever it believes of itself (I8).
            """
            CREATE FUNCTION check_term(expected BIGINT) RETURNS VOID LANGUAGE plpgsql AS $$
            BEGIN
                PERFORM 1 FROM facts WHERE name = 'term' AND value = expected::text FOR SHARE;
                IF NOT FOUND THEN
                    RAISE EXCEPTION 'term % is over', expected USING ERRCODE = 'FM001';
                END IF;
            END $$
            """,
        ),
    ),
    Migration(
        3,
        sqlite=(
            "ALTER TABLE events ADD COLUMN link BLOB NOT NULL DEFAULT x''",
            """
            CREATE TABLE gaps (
                first_id INTEGER PRIMARY KEY,
                last_id INTEGER NOT NULL,
                at REAL NOT NULL,
                before BLOB NOT NULL,
                after BLOB NOT NULL,
                key_id TEXT NOT NULL,
                signature BLOB NOT NULL
            ) STRICT
            """,
            """
            CREATE TABLE heads (
                event_id INTEGER PRIMARY KEY,
                at REAL NOT NULL,
                link BLOB NOT NULL,
                key_id TEXT NOT NULL,
                signature BLOB NOT NULL
            ) STRICT
            """,
        ),
        postgresql=(
            "ALTER TABLE events ADD COLUMN link BYTEA NOT NULL DEFAULT ''",
            """
            CREATE TABLE gaps (
                first_id BIGINT PRIMARY KEY,
                last_id BIGINT NOT NULL,
                at DOUBLE PRECISION NOT NULL,
                before BYTEA NOT NULL,
                after BYTEA NOT NULL,
                key_id TEXT NOT NULL,
                signature BYTEA NOT NULL
            )
            """,
            """
            CREATE TABLE heads (
                event_id BIGINT PRIMARY KEY,
                at DOUBLE PRECISION NOT NULL,
                link BYTEA NOT NULL,
                key_id TEXT NOT NULL,
                signature BYTEA NOT NULL
            )
            """,
        ),
        chains=True,
    ),
)

SCHEMA_VERSION = MIGRATIONS[-1].number
GO_ON = "upgrade, or restore a backup of before (docs/how-to/upgrade.md)"
"""What there is to do about a log of a newer version."""


def pending(version: int) -> tuple[Migration, ...]:
    """Return the steps that a database of this version still needs, in order."""
    return MIGRATIONS[version:]
