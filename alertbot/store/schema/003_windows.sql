-- Deploys, and the windows in which a deploy or a maintenance holds alerts. `over_at` is NULL until a window is over.
CREATE TABLE deploys (
    seq      INTEGER PRIMARY KEY,
    id       TEXT NOT NULL UNIQUE,
    service  TEXT NOT NULL,
    heard_at INTEGER NOT NULL,
    doc      TEXT NOT NULL
);
CREATE INDEX deploys_heard ON deploys (heard_at, id);
CREATE INDEX deploys_service ON deploys (service, heard_at, id);

CREATE TABLE windows (
    seq       INTEGER PRIMARY KEY,
    id        TEXT NOT NULL UNIQUE,
    starts_at INTEGER NOT NULL,
    wake_at   INTEGER,
    over_at   INTEGER,
    doc       TEXT NOT NULL
);
CREATE INDEX windows_wake ON windows (wake_at, id) WHERE wake_at IS NOT NULL;
CREATE INDEX windows_over ON windows (over_at) WHERE over_at IS NOT NULL;

-- Which alerts a window held. Rows are only added: whether one still counts is in the alert.
CREATE TABLE held (
    seq      INTEGER PRIMARY KEY,
    window   TEXT NOT NULL,
    incident TEXT NOT NULL,
    identity TEXT NOT NULL,
    UNIQUE (window, incident, identity)
);
