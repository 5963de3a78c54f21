-- Where an artifact was found decides how it may be removed.
ALTER TABLE artifacts ADD COLUMN layout TEXT NOT NULL DEFAULT 'plain'
    CHECK (layout IN ('plain', 'hf_cache', 'lm_studio', 'ollama'));
ALTER TABLE artifacts ADD COLUMN root TEXT;
UPDATE artifacts SET layout = 'hf_cache' WHERE origin LIKE 'hf:%';

-- While it is being removed: the files to delete, in this order.
ALTER TABLE artifacts ADD COLUMN removal_files TEXT;

-- Measured; NULL until somebody measures.
ALTER TABLE artifacts ADD COLUMN prefill_tokens_per_s REAL;
ALTER TABLE artifacts ADD COLUMN decode_tokens_per_s REAL;

-- The same bytes under other paths.
CREATE TABLE copies (
    path TEXT PRIMARY KEY,
    artifact_id INTEGER NOT NULL REFERENCES artifacts (id) ON DELETE CASCADE,
    origin TEXT,
    files TEXT NOT NULL,
    mmproj_path TEXT,
    size_bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    is_owned INTEGER NOT NULL,
    layout TEXT NOT NULL,
    root TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX copies_by_artifact ON copies (artifact_id);

-- Checksums of files as they were with this size and time.
CREATE TABLE file_hashes (
    path TEXT PRIMARY KEY,
    size_bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    -- 0: the name of the file says so. 1: it was computed here.
    is_computed INTEGER NOT NULL,
    hashed_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- Names that a store gives its models; a scan adds and removes these, never the user's own.
ALTER TABLE aliases ADD COLUMN is_found INTEGER NOT NULL DEFAULT 0;

CREATE INDEX artifacts_by_sha256 ON artifacts (sha256);
