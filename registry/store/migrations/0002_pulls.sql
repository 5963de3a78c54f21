-- Nothing wrote to the table of the first schema.
DROP TABLE pulls;

CREATE TABLE pulls (
    id INTEGER PRIMARY KEY,
    reference TEXT NOT NULL,
    wishes TEXT NOT NULL,
    -- NULL until the hub was asked.
    plan TEXT,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'paused', 'failed', 'done', 'cancelled')),
    -- What another process asks the one that runs it to do.
    wanted TEXT CHECK (wanted IN ('pause', 'cancel')),
    total_bytes INTEGER,
    done_bytes INTEGER NOT NULL DEFAULT 0,
    error_code TEXT,
    error TEXT,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    ended_at REAL
) STRICT;

-- Files that were verified, so that the same bytes are found again without reading them.
CREATE TABLE pulled_files (
    path TEXT PRIMARY KEY,
    -- What the bytes are: kind and value of their hash.
    blob TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX pulled_files_by_blob ON pulled_files (blob);
