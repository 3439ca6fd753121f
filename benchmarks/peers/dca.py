# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = [
#   "tensorflow-cpu==2.12.1",
#   "keras==2.12.0",
#   "scanpy==1.9.8",
#   "anndata==0.10.9",
#   "h5py==3.10.0",
#   "numpy==1.23.5",
#   "pandas==2.0.3",
#   "scikit-learn==1.3.2",
#   "scipy==1.11.4",
# ]
#
# [tool.gnnimpute]
# without-dependencies = ["DCA==0.3.4"]
#
# [tool.gnnimpute.methods]
# "DCA" = []
# "DCA, NB" = ["--model", "nb-conddisp"]
# ///
"""DCA (Eraslan et al., Nature Communications 2019): a count autoencoder, with its defaults.

The model is the publication's, zero-inflated negative binomial with a dispersion for each cell and gene; what is
written is its mean. `--model nb-conddisp` is the default of version 0.3.4. That version asks for TensorFlow below 2.5,
which no current Python runs: the names that Keras has renamed since are given back to it here.
"""

from __future__ import annotations

import importlib
import os
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent / "shared"))
from peer_adapter import THREADS, Answer, command, run

if TYPE_CHECKING:
    import argparse

    import anndata


def old_keras() -> None:
    """Let Keras 2.12 pass for the Keras 2.4 that DCA was written for."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    topology = types.ModuleType("keras.engine.topology")
    topology.Layer = keras.layers.Layer
    importlib.import_module("keras.engine.base_layer").InputSpec = keras.layers.InputSpec
    sys.modules |= {"keras.engine.topology": topology, "keras.objectives": keras.losses}
    sys.modules["dca.hyper"] = types.ModuleType("dca.hyper")  # the search of hyperparameters needs more packages
    sys.modules["dca.hyper"].hyper = None
    # Keras keeps its own session: in one that it did not make, the weights of its layers have no values.
    tf.compat.v1.keras.backend.set_session = lambda session: session
    # The new optimisers do not run in a graph of TensorFlow 1.
    keras.optimizers.RMSprop = importlib.import_module("keras.optimizers.legacy.rmsprop").RMSprop


def impute(counts: anndata.AnnData, arguments: argparse.Namespace) -> Answer:
    """Train on cells in random order, since DCA validates on the last tenth, and put them back."""
    import numpy as np

    old_keras()
    dca = importlib.import_module("dca.api").dca
    order = np.random.default_rng(arguments.seed).permutation(counts.n_obs)
    shuffled = counts[order].copy()
    shuffled.X = shuffled.X.toarray()
    settings = {"ae_type": arguments.model, "threads": THREADS, "random_state": arguments.seed}
    dca(shuffled, **settings, return_info=True)
    losses = shuffled.uns["dca_loss_history"]["val_loss"]
    mean = np.empty(counts.shape, dtype=np.float32)
    mean[order] = shuffled.X
    trained = {"epochs": len(losses), "validation_loss": float(min(losses)), "cells": "shuffled"}
    return Answer(mean=mean, version="0.3.4", settings=settings | trained)


if __name__ == "__main__":
    parser = command(__doc__)
    parser.add_argument("--model", choices=["zinb-conddisp", "nb-conddisp"], default="zinb-conddisp")
    run(__file__, impute, parser)
