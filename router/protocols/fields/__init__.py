"""What several protocols share of fields and shapes, and the table of what is honoured."""
