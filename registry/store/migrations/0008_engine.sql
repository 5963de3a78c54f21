-- A model's engine setting may be an upstream's name, which this file cannot know: what it may be is for whoever reads it.
ALTER TABLE models ADD COLUMN engine_setting TEXT;
UPDATE models SET engine_setting = engine;
ALTER TABLE models DROP COLUMN engine;
ALTER TABLE models RENAME COLUMN engine_setting TO engine;
