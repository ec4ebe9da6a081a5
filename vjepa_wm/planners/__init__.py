"""Planners: each sees a cost over action sequences, never a network or a simulator."""

from vjepa_wm.planners.action_box import ActionBox, vjepa2_box
from vjepa_wm.planners.cem import CEM, CEMConfig
from vjepa_wm.planners.planner import Cost, Plan, Planner, shift

__all__ = ["CEM", "ActionBox", "CEMConfig", "Cost", "Plan", "Planner", "shift", "vjepa2_box"]
