"""The application: its package, and the loaded application's pages, assets and clones."""
