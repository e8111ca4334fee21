"""A crop on a network's canvas: whole, in the middle, and back in its own pixels."""

import numpy as np
import pytest

from partreid.labels.providers.network import letterbox


@pytest.mark.parametrize("canvas_size", [(192, 96), (160, 128)])
@pytest.mark.parametrize("size", [(128, 64), (211, 77), (50, 200), (3, 3), (400, 100)])
def test_the_images_corners_come_back_exactly(size: tuple[int, int], canvas_size: tuple[int, int]) -> None:
    canvas, place = letterbox(np.full((*size, 3), 255, np.uint8), canvas_size)
    assert canvas.shape == (*canvas_size, 3)
    white = (canvas == 255).all(axis=2)
    rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
    shown = np.array([(columns[0], rows[0]), (columns[-1] + 1, rows[-1] + 1)], float)
    np.testing.assert_allclose(place.to_image(shown), [(0, 0), size[::-1]], atol=1e-9)
    # Grey on every side, the same on both to one pixel.
    for first, last, length in ((rows[0], rows[-1], canvas_size[0]), (columns[0], columns[-1], canvas_size[1])):
        assert 1 <= first <= length - 1 - last <= first + 1
