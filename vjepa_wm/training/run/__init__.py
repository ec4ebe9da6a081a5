"""What every training run has: options, schedules, state that resumes, log and curves, one process or many."""
