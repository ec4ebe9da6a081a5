"""What single patches of an encoder know: classes and depth of places, and which places of a video are the same."""
