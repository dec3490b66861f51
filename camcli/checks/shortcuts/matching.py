"""Comparison of small windows with every place of many images, by Fourier transforms.

PyTorch is imported where it is used, since it takes seconds, and a check without images gets by without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Spectra:
    """Images and the Fourier transforms of their pixels and of their squares, for the comparison with windows.

    Attributes:
        images: (N, H, W, 3) float32.
        pixels: (N, 3, H, W // 2 + 1) complex64.
        energy: (N, H, W // 2 + 1) complex64, of the sum of squares over channels.
    """

    images: np.ndarray
    pixels: torch.Tensor
    energy: torch.Tensor

    @classmethod
    def of(cls, images: np.ndarray) -> Spectra:
        """Of images (N, H, W, 3) float32."""
        import torch

        x = _centred(images)
        return cls(images, torch.fft.rfft2(x), torch.fft.rfft2((x**2).sum(1)))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, chosen: np.ndarray | slice) -> Spectra:
        return Spectra(self.images[chosen], self.pixels[chosen], self.energy[chosen])


def match(
    templates: np.ndarray, spectra: Spectra, heat: np.ndarray | None = None, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The least root mean square difference of windows to the places of images.

    Args:
        templates: (K, h, w, 3) float32, of one size.
        spectra: of N images.
        heat: (N, H, W); where given, only windows that are not cold count.
        weights: (h, w), how much each pixel of the windows counts.

    Returns:
        The differences (K, N), and x and y of the top left corners where they are found, (K, N, 2).
    """
    import torch

    height, width = templates.shape[1:3]
    size = spectra.images.shape[1:3]
    rows, columns = size[0] - height + 1, size[1] - width + 1
    weight = torch.ones(height, width) if weights is None else torch.from_numpy(weights.astype(np.float32))
    windows = _centred(templates)
    squares = (weight * windows**2).sum((1, 2, 3))
    spectrum = torch.fft.rfft2(-2 * weight * windows, size).conj().transpose(0, 1).resolve_conj().contiguous()
    weight_spectrum = torch.fft.rfft2(weight, size).conj().resolve_conj()
    best = np.empty((len(templates), len(spectra)), np.float32)
    places = np.empty((len(templates), len(spectra), 2), int)
    for n in range(len(spectra)):
        products = spectrum[0] * spectra.pixels[n, 0]
        for channel in (1, 2):
            products.addcmul_(spectrum[channel], spectra.pixels[n, channel])
        products += weight_spectrum * spectra.energy[n]
        distance = torch.fft.irfft2(products, size)[:, :rows, :columns] + squares[:, None, None]
        if heat is not None:
            mean = box_means(heat[n], (width, height))
            distance[:, torch.from_numpy(mean < 0.25 * mean.max())] = torch.inf
        flat, index = distance.flatten(1).min(1)
        best[:, n] = (flat.clamp(min=0) / (3 * weight.sum())).sqrt().numpy()
        places[:, n, 0], places[:, n, 1] = (index % columns).numpy(), (index // columns).numpy()
    return best, places


def _centred(images: np.ndarray) -> torch.Tensor:
    """(N, H, W, 3) to (N, 3, H, W), around 0, which keeps the sums of squares small and their difference exact."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)) - np.float32(127.5))


def box_means(values: np.ndarray, size: int | tuple[int, int]) -> np.ndarray:
    """The mean of each window of (width, height), by its top left corner: only windows that lie inside."""
    width, height = (size, size) if isinstance(size, int) else size
    means = cv2.boxFilter(values.astype(np.float32), -1, (width, height), anchor=(0, 0))
    inside: np.ndarray = means[: values.shape[0] - height + 1, : values.shape[1] - width + 1]
    return inside
