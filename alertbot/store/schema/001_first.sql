-- Events as they came in. Rowid tables throughout: bodies and records of a kilobyte make WITHOUT ROWID slow and large.
CREATE TABLE events (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,
    source   TEXT NOT NULL,
    trace_id TEXT NOT NULL,
    body     BLOB NOT NULL
);
CREATE INDEX events_at ON events (at);

-- What is still to be decided. Apart from `events`, for a mark in the row would write its whole body anew.
CREATE TABLE undecided (seq INTEGER PRIMARY KEY);
CREATE TRIGGER events_undecided AFTER INSERT ON events BEGIN INSERT INTO undecided VALUES (new.seq); END;

CREATE TABLE incidents (
    seq        INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    key        TEXT NOT NULL,
    status     TEXT NOT NULL,
    severity   TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    ended_at   INTEGER,            -- when it was resolved; NULL while it is not
    wake_at    INTEGER,
    doc        TEXT NOT NULL
);
CREATE INDEX incidents_key ON incidents (key, seq);
CREATE INDEX incidents_created ON incidents (created_at, id);
CREATE INDEX incidents_status ON incidents (status, created_at, id);
CREATE INDEX incidents_wake ON incidents (wake_at, id) WHERE wake_at IS NOT NULL;
CREATE INDEX incidents_ended ON incidents (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE alerts (
    seq       INTEGER PRIMARY KEY,
    incident  TEXT NOT NULL,
    identity  TEXT NOT NULL,
    settled   INTEGER NOT NULL,
    current   INTEGER NOT NULL,
    firing    INTEGER NOT NULL,
    starts_at INTEGER NOT NULL,
    seen_at   INTEGER NOT NULL,
    held_by   TEXT,                -- the relation that holds it, while that is still to be told
    doc       TEXT NOT NULL,
    UNIQUE (incident, identity)
);
CREATE INDEX alerts_current ON alerts (identity) WHERE current = 1;
CREATE INDEX alerts_unsettled ON alerts (incident, identity) WHERE settled = 0;
CREATE INDEX alerts_settled ON alerts (seen_at) WHERE settled = 1;
CREATE INDEX alerts_held ON alerts (held_by, incident) WHERE held_by IS NOT NULL;

-- Firing, current alerts on the source side of an inhibition relation.
CREATE TABLE sources (
    seq       INTEGER PRIMARY KEY,
    relation  TEXT NOT NULL,
    two_sided INTEGER NOT NULL,
    starts_at INTEGER NOT NULL,
    identity  TEXT NOT NULL,
    incident  TEXT NOT NULL,
    name      TEXT NOT NULL
);
CREATE INDEX sources_relation ON sources (relation, two_sided, starts_at, identity, incident);
CREATE INDEX sources_alert ON sources (incident, identity);

-- `due_at` is when a delivery may be claimed: its own time, or the end of the lease it is under; NULL where nothing is due.
CREATE TABLE deliveries (
    seq      INTEGER PRIMARY KEY,
    id       TEXT NOT NULL UNIQUE,
    incident TEXT NOT NULL,
    lane     TEXT NOT NULL,
    rank     INTEGER NOT NULL,
    since    INTEGER NOT NULL,
    due_at   INTEGER,
    doc      TEXT NOT NULL
);
CREATE INDEX deliveries_incident ON deliveries (incident);
CREATE INDEX deliveries_due ON deliveries (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX deliveries_lane ON deliveries (lane, rank, since, id, due_at) WHERE due_at IS NOT NULL;

CREATE TABLE entries (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,
    incident TEXT NOT NULL,
    identity TEXT NOT NULL,
    doc      TEXT NOT NULL
);
CREATE INDEX entries_incident ON entries (incident) WHERE incident <> '';
CREATE INDEX entries_identity ON entries (identity) WHERE identity <> '';
CREATE INDEX entries_loose ON entries (at) WHERE incident = '';

CREATE TABLE parked (
    seq  INTEGER PRIMARY KEY,
    id   TEXT NOT NULL UNIQUE,
    at   INTEGER NOT NULL,
    kind TEXT NOT NULL,
    ref  TEXT NOT NULL,
    doc  TEXT NOT NULL,            -- all but `raw`
    raw  BLOB NOT NULL
);
CREATE INDEX parked_ref ON parked (kind, ref);
CREATE INDEX parked_at ON parked (at, id);

CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
