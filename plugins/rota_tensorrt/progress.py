"""What TensorRT says of its progress while it builds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorrt as trt

    from rota_tensorrt.library import Library
    from scheduler.plugin.builder import Progress


def make_monitor(module: Library, subject: str, tell: Progress) -> trt.IProgressMonitor | None:
    """Make a monitor that tells of the outermost phases; None where the library has none (8.5).

    TensorRT calls it from threads of its own.
    """
    if not hasattr(module, "IProgressMonitor"):
        return None
    steps: dict[str, int] = {}

    class Monitor(module.IProgressMonitor):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None or parent_phase in steps:
                steps[phase_name] = num_steps
                tell(f"{subject}: {phase_name}", 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in steps:
                tell(f"{subject}: {phase_name}", step + 1, steps[phase_name])
            return True

        def phase_finish(self, phase_name: str) -> None:
            done = steps.pop(phase_name, None)
            if done is not None:
                tell(f"{subject}: {phase_name}", done, done)

    made: trt.IProgressMonitor = Monitor()
    return made
