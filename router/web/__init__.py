"""The page at /ui/: its files, and how they are served. What it shows comes by the same API as everybody's."""
