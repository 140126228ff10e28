"""From CenterFace's maps to faces."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

STRIDE: Final = 4
"""Pixels of the input per cell of the maps. From the paper."""

_NMS_THRESHOLD: Final = 0.3
"""Overlap above which the weaker of two boxes goes. From the authors' code."""

Maps = NDArray[np.float32]


def find_faces(
    heat: Maps, scale: Maps, offset: Maps, landmarks: Maps, threshold: float
) -> list[dict[str, Any]]:
    """Find the faces in the maps of one image, most certain first, in pixels of the input.

    A cell whose heat is above `threshold` is a face's centre. With (r, c) its row and column, its
    box is `exp(scale) x STRIDE` high and wide around `(r + offset + ½) x STRIDE`, and its five
    landmarks (eyes, nose, mouth corners) are fractions of the box from its top left corner; rows
    come before columns in every map. Xu et al., "CenterFace: Joint Face Detection and Alignment
    Using Face as Point", 2019 (arXiv:1911.03599), section 3; channel order as in the authors' code.

    Args:
        heat: the heat map, rows x columns.
        scale: 2 x rows x columns, logarithms of height and width.
        offset: 2 x rows x columns, in cells.
        landmarks: 10 x rows x columns.
        threshold: the least heat of a face.
    """
    rows, columns = np.nonzero(heat > threshold)
    scores = heat[rows, columns]
    sizes = np.exp(scale[:, rows, columns]) * STRIDE
    centres = (np.stack([rows, columns]) + offset[:, rows, columns] + 0.5) * STRIDE
    corners = centres - sizes / 2
    points = landmarks[:, rows, columns].reshape(5, 2, -1) * sizes + corners
    boxes = np.concatenate([corners[::-1], sizes[::-1]]).T
    return [
        {
            "score": float(scores[face]),
            "box": boxes[face].tolist(),
            "landmarks": points[:, ::-1, face].tolist(),
        }
        for face in _distinct(boxes, scores, threshold)
    ]


def _distinct(boxes: NDArray[Any], scores: NDArray[Any], threshold: float) -> list[int]:
    """Return the indices of the boxes that no stronger one covers, strongest first."""
    import cv2  # noqa: PLC0415 - heavy: imported when the engine is loaded

    if not len(scores):
        return []
    kept = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), threshold, _NMS_THRESHOLD)
    return [int(index) for index in np.ravel(kept)]
