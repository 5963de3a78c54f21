-- Sessions of the page: each is a further secret of a key, or of the server's owner (no key). One that ends is deleted.
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    key_id TEXT,
    client TEXT NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    salt BLOB NOT NULL,
    digest BLOB NOT NULL
) STRICT;
