"""The APIs that clients speak: shapes, validation, encoders, routes; one folder each."""
