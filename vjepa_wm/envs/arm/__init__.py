"""Tasks of a Franka-like arm above a table."""
