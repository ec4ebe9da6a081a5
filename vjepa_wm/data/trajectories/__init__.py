"""Robot trajectories on disk: LeRobot v3 data sets, read whoever recorded them, and written here."""
