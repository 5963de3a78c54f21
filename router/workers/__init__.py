"""The worker processes and the one task that owns them: queue, fleet, channel, faults."""
