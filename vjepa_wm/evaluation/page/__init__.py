"""One page to read: results as a single html file that opens without a network."""
