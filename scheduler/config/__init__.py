"""One YAML file, validated: what a robot's models are and what they may use."""

from scheduler.config.config import Config
from scheduler.config.footprint import Footprint
from scheduler.config.load import load_config
from scheduler.config.model import Model

__all__ = ["Config", "Footprint", "Model", "load_config"]
