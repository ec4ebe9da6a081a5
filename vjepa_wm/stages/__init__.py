"""The stages that need a simulator: here environments, planners and models meet, and none knows the others."""
