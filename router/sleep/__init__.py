"""The machine's sleep: who tells of it, what keeps it off while there is work, deadlines for which it is no time."""
