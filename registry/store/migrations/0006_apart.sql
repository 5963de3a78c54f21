-- A model that was made under a name of its own: other models with the same bytes are never taken for it.
ALTER TABLE models ADD COLUMN is_apart INTEGER NOT NULL DEFAULT 0;
