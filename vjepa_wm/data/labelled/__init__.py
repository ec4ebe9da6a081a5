"""Videos and pictures with the answers that probes and classifiers are trained for."""
