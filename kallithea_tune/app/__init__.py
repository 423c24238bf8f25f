"""The loaded application: its pages, its assets, and its clones."""
