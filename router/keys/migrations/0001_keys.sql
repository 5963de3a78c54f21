-- What is known of a secret is its hash under a salt of its own. Times are seconds since 1970.
CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    prefix TEXT NOT NULL,
    scope TEXT NOT NULL,
    models TEXT,
    priority TEXT,
    requests_per_minute INTEGER,
    tokens_per_minute INTEGER,
    created_at REAL NOT NULL,
    expires_at REAL,
    revoked_at REAL,
    salt BLOB NOT NULL,
    digest BLOB NOT NULL
) STRICT;
-- Per day (UTC, 2026-01-31); of keys without a row above as well, those of a file and of the environment.
CREATE TABLE usage (
    key_id TEXT NOT NULL,
    day TEXT NOT NULL,
    num_requests INTEGER NOT NULL DEFAULT 0,
    num_refused INTEGER NOT NULL DEFAULT 0,
    num_prompt_tokens INTEGER NOT NULL DEFAULT 0,
    num_cached_tokens INTEGER NOT NULL DEFAULT 0,
    num_answer_tokens INTEGER NOT NULL DEFAULT 0,
    last_used_at REAL NOT NULL,
    PRIMARY KEY (key_id, day)
) STRICT, WITHOUT ROWID;
