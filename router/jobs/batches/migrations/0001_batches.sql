CREATE TABLE files (
    id TEXT PRIMARY KEY,
    purpose TEXT NOT NULL,
    num_bytes INTEGER NOT NULL,
    created_at REAL NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE batches (
    id TEXT PRIMARY KEY,
    status TEXT NOT NULL,
    created_at REAL NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE lines (
    batch_id TEXT NOT NULL REFERENCES batches (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    custom_id TEXT NOT NULL,
    offset INTEGER NOT NULL,
    num_bytes INTEGER NOT NULL,
    depends_on TEXT NOT NULL,
    -- NULL until the line has ended; then the place of its end among the batch's, from 1.
    ended INTEGER,
    is_ok INTEGER,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    reasoning_tokens INTEGER NOT NULL DEFAULT 0,
    duration_s REAL NOT NULL DEFAULT 0,
    output TEXT,
    result BLOB,
    PRIMARY KEY (batch_id, number)
) STRICT;
CREATE UNIQUE INDEX lines_by_custom_id ON lines (batch_id, custom_id);
CREATE UNIQUE INDEX lines_by_end ON lines (batch_id, ended) WHERE ended IS NOT NULL;
