"""Planners: each sees a cost over action sequences, never a network or a simulator."""

from vjepa_wm.planners.action_box import ActionBox, vjepa2_box
from vjepa_wm.planners.cem import CEM, CEMConfig
from vjepa_wm.planners.gradient import GradientConfig, GradientPlanner
from vjepa_wm.planners.icem import ICEM, ICEMConfig
from vjepa_wm.planners.mppi import MPPI, MPPIConfig
from vjepa_wm.planners.planner import Cost, Plan, Planner, shift
from vjepa_wm.planners.polish import Polish
from vjepa_wm.planners.random_shooting import RandomShooting, RandomShootingConfig

__all__ = [
    "CEM",
    "ICEM",
    "MPPI",
    "ActionBox",
    "CEMConfig",
    "Cost",
    "GradientConfig",
    "GradientPlanner",
    "ICEMConfig",
    "MPPIConfig",
    "Plan",
    "Planner",
    "Polish",
    "RandomShooting",
    "RandomShootingConfig",
    "shift",
    "vjepa2_box",
]
