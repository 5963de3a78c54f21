"""Random vision models of each family (float32, about 1 MB) in both formats, from the same weights.

With greedy sampling both engines must give the same tokens on them.
"""

from tests.support.tiny_vision.families import TINY_FAMILIES
from tests.support.tiny_vision.model import RGB, VisionModel, patchwork, write_vision_model

__all__ = ["RGB", "TINY_FAMILIES", "VisionModel", "patchwork", "write_vision_model"]
