"""The commands, a thin file each: options, a call of the library, and what is printed.

Only here do environments, planners and models meet, and none of them knows the others.
"""
