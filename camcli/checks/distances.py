"""How far two maps of one image lie apart, and the statistics that checks are made of.

m is a native map after relu, (h, w); p = m / Σm is the distribution of its mass.
"""

import numpy as np

TOP = 0.2
"""Share of the cells that count as the top of a map."""


def mass(raw: np.ndarray) -> np.ndarray:
    """p = relu(raw) / Σ relu(raw), float64; the map must be positive somewhere."""
    m = np.maximum(raw, 0).astype(np.float64)
    p: np.ndarray = m / m.sum()
    return p


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0 of the flattened values; equal values share the mean of their ranks."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    _, group, sizes = np.unique(flat, return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    shared: np.ndarray = ((last - sizes) + (last - 1))[group] / 2
    return shared


def spearman(a: np.ndarray, b: np.ndarray) -> float | None:
    """Spearman's rank correlation of two maps in [-1, 1], ties by mean rank; None where one of them is constant."""
    x, y = ranks(a), ranks(b)
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(np.clip(x @ y / size, -1, 1)) if size else None


def top_overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of the ⌈20 %⌉ hottest cells of two maps, in [0, 1]."""
    count = int(np.ceil(TOP * a.size))
    # The last cell that still counts may tie with others. To prefer the other map's cells among them would bias the
    # overlap upwards, so both take the first ones.
    top = [set(np.argsort(-m.ravel(), kind="stable")[:count].tolist()) for m in (a, b)]
    return len(top[0] & top[1]) / len(top[0] | top[1])


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Jensen-Shannon divergence of two distributions of mass, base 2: 0 for equal, 1 for disjoint ones."""
    middle = (p + q) / 2

    def relative(a: np.ndarray) -> float:
        some = a > 0
        return float((a[some] * np.log2(a[some] / middle[some])).sum())

    return min(1.0, max(0.0, (relative(p) + relative(q)) / 2))


def centroid(p: np.ndarray) -> tuple[float, float]:
    """(x, y) of the mean position of the mass, relative to the map: 0 to 1 from left to right, top to bottom."""
    rows, columns = (np.arange(n) + 0.5 for n in p.shape)
    return float(p.sum(0) @ columns) / p.shape[1], float(p.sum(1) @ rows) / p.shape[0]


def centroid_shift(p: np.ndarray, q: np.ndarray, width: float = 1.0, height: float = 1.0) -> float:
    """Distance of the centroids over the diagonal of what the model saw, in [0, 1]."""
    (x0, y0), (x1, y1) = centroid(p), centroid(q)
    return float(np.hypot((x1 - x0) * width, (y1 - y0) * height) / np.hypot(width, height))
