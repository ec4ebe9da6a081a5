"""Numbered pieces of work, done by several processes or a Ray cluster, given back in order and none lost."""
