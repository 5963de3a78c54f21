"""How `engine: auto` learns: from the benchmark's history to the engine that is expected to answer sooner."""
