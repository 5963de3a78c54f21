-- Nothing wrote to the table of the first schema.
DROP TABLE comparisons;

-- Runs of the benchmark. They outlive their model, so they hold its name and no row of it.
CREATE TABLE benches (
    bench_id TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    created_at REAL NOT NULL,
    source TEXT NOT NULL,
    -- JSON of what a list shows.
    head TEXT NOT NULL,
    -- zlib of the JSON of all of it.
    record BLOB NOT NULL
) STRICT;

CREATE INDEX benches_by_model ON benches (model, source, created_at);
CREATE INDEX benches_by_time ON benches (created_at);
