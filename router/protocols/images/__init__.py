"""Pictures in requests of all protocols: where they stand, their bytes, who answers, and what was seen."""
