"""Engines that look: faces and text in images."""

from rota_vision.centerface import CenterFaceEngine
from rota_vision.ocr import RapidOcrEngine

__all__ = ["CenterFaceEngine", "RapidOcrEngine"]
