"""Environments of others as environments with goal pictures."""
