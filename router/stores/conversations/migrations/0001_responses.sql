CREATE TABLE responses (
    id TEXT PRIMARY KEY,
    root_id TEXT NOT NULL,
    previous_id TEXT,
    created_at REAL NOT NULL,
    status TEXT NOT NULL,
    is_deleted INTEGER NOT NULL DEFAULT 0,
    num_bytes INTEGER NOT NULL,
    input BLOB NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX responses_by_root ON responses (root_id, created_at, num_bytes);
CREATE INDEX responses_by_previous ON responses (previous_id);
-- Where an item is that was referred to by its id.
CREATE TABLE items (
    id TEXT PRIMARY KEY,
    response_id TEXT NOT NULL REFERENCES responses (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX items_by_response ON items (response_id);
