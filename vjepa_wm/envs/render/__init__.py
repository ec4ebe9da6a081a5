"""What draws the pictures: OpenGL, or rays that need no graphics library."""
