"""Video and picture files to frames and back."""
