"""From raw video to a robot that reaches a goal picture: V-JEPA 2 encoders, latent world models, planning."""

__version__ = "0.1.0"
