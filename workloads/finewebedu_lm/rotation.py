"""The angles of rotary position embedding, the same for both frameworks."""

import numpy as np


def rotation_tables(length: int, head_width: int, theta: float) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of the angles by which positions turn pairs of features.

    Pair i of a head, features 2 i and 2 i + 1, turns by p theta^(-2 i / head_width) radians at
    position p (Su et al., 2021, "RoFormer", arXiv:2104.09864, equation 15).

    Args:
      length: number of positions.
      head_width: features of a head; even.
      theta: the base of the angles.

    Returns:
      Two arrays of shape (length, head_width / 2), float32. They are computed in float64: in single
      precision the angles of late positions are off by some 1e-4 radians.
    """
    frequencies = theta ** -(np.arange(0, head_width, 2) / head_width)
    angles = np.outer(np.arange(length), frequencies)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
