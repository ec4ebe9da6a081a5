"""What limits a task: candidates whose true ends are known, and what each part of a world model makes of them."""
