-- Times are seconds since 1970, UTC. Structs are JSON texts. Paths are absolute.

CREATE TABLE models (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    engine TEXT CHECK (engine IN ('auto', 'mlx', 'llamacpp')),
    created_at REAL NOT NULL,
    last_used_at REAL
) STRICT;

CREATE TABLE artifacts (
    id INTEGER PRIMARY KEY,
    model_id INTEGER NOT NULL REFERENCES models (id),
    format TEXT NOT NULL CHECK (format IN ('gguf', 'mlx')),
    path TEXT NOT NULL UNIQUE,
    -- What stays the same when a new revision brings a new path; NULL for plain files.
    origin TEXT UNIQUE,
    files TEXT NOT NULL,
    mmproj_path TEXT,
    size_bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    sha256 TEXT,
    status TEXT NOT NULL CHECK (status IN ('ok', 'bad', 'missing', 'unsupported')),
    reason TEXT,
    is_owned INTEGER NOT NULL,
    -- Set while the artifact is being removed: what is to be done with its files.
    removal TEXT CHECK (removal IN ('unregister', 'delete')),
    architecture TEXT,
    parameter_count INTEGER,
    quantization TEXT,
    context_length INTEGER,
    facts TEXT NOT NULL,
    added_at REAL NOT NULL,
    UNIQUE (model_id, format)
) STRICT;

-- Files that a scan met and that are no artifact; kept so that they are not parsed again.
CREATE TABLE skipped_files (
    path TEXT PRIMARY KEY,
    size_bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('bad', 'not_a_model', 'ignored')),
    code TEXT NOT NULL,
    reason TEXT NOT NULL,
    seen_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE aliases (
    alias TEXT PRIMARY KEY,
    model_id INTEGER NOT NULL REFERENCES models (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE settings (
    model_id INTEGER NOT NULL REFERENCES models (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (model_id, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE pulls (
    id INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    state TEXT NOT NULL,
    total_bytes INTEGER,
    done_bytes INTEGER NOT NULL DEFAULT 0,
    detail TEXT NOT NULL,
    error TEXT,
    started_at REAL NOT NULL,
    updated_at REAL NOT NULL
) STRICT;

CREATE TABLE comparisons (
    id INTEGER PRIMARY KEY,
    model_name TEXT NOT NULL,
    created_at REAL NOT NULL,
    machine TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;

-- A scan looks for files that moved among those that are missing.
CREATE INDEX artifacts_by_status ON artifacts (status);

CREATE INDEX comparisons_by_model ON comparisons (model_name, created_at);
