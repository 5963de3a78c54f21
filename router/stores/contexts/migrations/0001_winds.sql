-- Conversations whose older turns were told again, so that they fit their model's context.
CREATE TABLE winds (
    id TEXT PRIMARY KEY,
    root BLOB NOT NULL,
    -- Id of the API key that it belongs to; NULL = it is the server's owner's.
    owner TEXT,
    model TEXT NOT NULL,
    -- Where the conversation is kept that used it last; NULL = its client sends it as a whole.
    kept_in TEXT,
    digest BLOB NOT NULL,
    num_told INTEGER NOT NULL,
    num_turns INTEGER NOT NULL,
    task INTEGER,
    earlier_id TEXT,
    session_id TEXT,
    tokens_before INTEGER NOT NULL,
    tokens_after INTEGER NOT NULL,
    narrative_tokens INTEGER NOT NULL,
    told_by TEXT,
    ms REAL NOT NULL,
    is_left_out INTEGER NOT NULL,
    created_at REAL NOT NULL,
    used_at REAL NOT NULL,
    num_bytes INTEGER NOT NULL,
    -- What is long stands behind what is looked through.
    narrative TEXT,
    shown BLOB NOT NULL
) STRICT;
CREATE INDEX winds_by_digest ON winds (digest);
CREATE INDEX winds_by_use ON winds (used_at, created_at, num_bytes, id);
CREATE INDEX winds_by_earlier ON winds (earlier_id);
-- Kept conversations, and first responses of stored chains, that have used a wind: it is deleted with them.
CREATE TABLE wind_places (
    place TEXT NOT NULL,
    context_id TEXT NOT NULL,
    PRIMARY KEY (place, context_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX wind_places_by_context ON wind_places (context_id);
