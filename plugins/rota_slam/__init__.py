"""SLAM's front end: where has the robot moved (KISS-ICP odometry)."""

from rota_slam.odometry import KissIcpEngine

__all__ = ["KissIcpEngine"]
