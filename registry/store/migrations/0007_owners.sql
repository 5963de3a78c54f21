-- Whose a pull and a run of the benchmark are: ids of API keys, null = the server's owner, as for all that were there.
-- A JSON list: several may have asked for one pull.
ALTER TABLE pulls ADD COLUMN owners TEXT NOT NULL DEFAULT '[null]';
ALTER TABLE benches ADD COLUMN owner TEXT;
