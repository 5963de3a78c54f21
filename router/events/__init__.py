"""What happens in a server, as events that others can follow."""
