"""Mercurial and Git repositories, their hooks, and the search index."""
