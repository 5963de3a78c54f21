"""How short of memory the machine is: readings, the level that follows from them, and the watch over both."""
