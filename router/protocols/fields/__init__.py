"""What protocols share of requests and answers: what becomes of each field, and those that several of them have."""
