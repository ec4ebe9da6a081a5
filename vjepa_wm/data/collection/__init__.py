"""Recording of policies in environments, by this process, several, or a cluster."""
