-- LoRA adapters, each registered for the model that it changes; they go with it.
CREATE TABLE adapters (
    id INTEGER PRIMARY KEY,
    model_id INTEGER NOT NULL REFERENCES models (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    format TEXT NOT NULL CHECK (format IN ('gguf', 'mlx')),
    path TEXT NOT NULL,
    files TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    -- What the user wants its effect multiplied by.
    scale REAL NOT NULL,
    facts TEXT NOT NULL,
    added_at REAL NOT NULL,
    UNIQUE (model_id, name, format)
) STRICT;
