"""The directions in which sparse rows vary most, by products with a few vectors at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gnnimpute._blas import one_thread_of_openblas

if TYPE_CHECKING:
    import scipy.sparse as sp
    import torch
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

N_ROUNDS = 12
_SHARE = 0.4
"""Vectors of a block for each direction: narrow blocks and many rounds converge faster than the other way round."""
_LEAST_WIDTH = 10
_ROUNDING = 1e-3
"""What is left of a vector by rounding, as a share."""


@one_thread_of_openblas()
def directions(
    rows: sp.csr_matrix,
    n: int,
    *,
    rng: np.random.Generator,
    center: NDArray[np.floating] | None = None,
    n_rounds: int = N_ROUNDS,
    device: torch.device | str = "cpu",
) -> NDArray[np.float32]:
    """The leading right singular vectors of rows, of shape (n_columns, n); those of centred rows with a `center`.

    Block Lanczos iterations: the vectors are sought in the span of a random block and of what repeated multiplication
    makes of it :cite:p:`Musco2015`.

    Parameters
    ----------
    rows
        Matrix of shape (n_rows, n_columns), float32.
    n
        Number of directions, at most the lesser of both.
    rng
        Source of the first block.
    center
        Mean of each column, of shape (n_columns,), that is taken off each row without making it dense.
    n_rounds
        Products of the rows with each block of vectors. The default leaves .9995 of what can be explained, and more;
        half as many find directions that are as good to predict from.
    device
        Where the rows are multiplied.

    Returns
    -------
    Orthonormal columns, those of most variance first; the largest loading of each is positive. Of rows fewer than their
    columns, those beyond the rank are 0.
    """
    import torch

    from gnnimpute._sparse_rows import SparseRows

    sparse = SparseRows(rows, device=device)  # PyTorch multiplies twice as fast as SciPy
    middle: Floats = (np.zeros(rows.shape[1]) if center is None else center).astype(np.float32)

    def scores(vectors: Floats) -> Floats:
        products: Floats = (sparse.rows @ torch.from_numpy(vectors).to(device)).cpu().numpy() - middle @ vectors
        return products

    def loadings(vectors: Floats) -> Floats:
        products: Floats = (sparse.columns @ torch.from_numpy(vectors).to(device)).cpu().numpy()
        products -= np.outer(middle, vectors.sum(0))
        return products

    is_wide, size = rows.shape[0] < rows.shape[1], min(rows.shape)
    width = min(max(round(_SHARE * n), _LEAST_WIDTH), size)
    most = min(n_rounds * width, size)
    basis, images = np.empty((2, size, most), dtype=np.float32)
    block = rng.standard_normal((rows.shape[1], width), dtype=np.float32)
    block = scores(block) if is_wide else block  # the order of the rows changes nothing
    for start in range(0, most, width):
        before, here = basis[:, :start], slice(start, start + width)
        for _ in range(2):  # once leaves rounding errors, which would grow from round to round
            block = np.linalg.qr(block[:, : most - start] - before @ (before.T @ block[:, : most - start]))[0]
        basis[:, here] = block
        block = images[:, here] = scores(loadings(block)) if is_wide else loadings(scores(block))
    if np.abs(basis.T @ basis - np.eye(most, dtype=np.float32)).max() > _ROUNDING:  # more vectors than the rank
        basis = np.linalg.qr(basis)[0]
        images = scores(loadings(basis)) if is_wide else loadings(scores(basis))
    _, vectors = np.linalg.eigh((basis.T @ images).astype(np.float64))
    found = basis @ vectors[:, ::-1][:, :n].astype(np.float32)
    if is_wide:
        found = loadings(found)
        length = np.linalg.norm(found, axis=0)
        found /= np.where(length > _ROUNDING * length.max(), length, np.inf)  # beyond the rank there is no direction
    largest = np.take_along_axis(found, np.abs(found).argmax(0)[None], axis=0)
    return np.asarray(found * np.where(largest < 0, np.float32(-1), np.float32(1)))
