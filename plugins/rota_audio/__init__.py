"""Audio engines: is somebody speaking (Silero VAD), and what do they say (Moonshine)."""

from rota_audio.moonshine import MoonshineEngine
from rota_audio.silero_vad import SileroVadEngine

__all__ = ["MoonshineEngine", "SileroVadEngine"]
