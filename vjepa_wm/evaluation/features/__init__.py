"""Features of videos and pictures on disk, and pictures of what an encoder sees."""
