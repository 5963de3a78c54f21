"""What the scenarios share in which workers write scripts and review them. No script is ever executed."""
