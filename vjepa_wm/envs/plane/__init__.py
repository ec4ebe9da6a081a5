"""Tasks of a point in the plane, seen from above: fast to simulate and to look at."""
