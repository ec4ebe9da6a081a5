"""Which tokens of a clip are shown and which are hidden."""
