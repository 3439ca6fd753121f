"""Numbers that the paper has in words (Xu, Cai, Gao, BMC Bioinformatics 22, 582, 2021); its figures are pictures."""

from __future__ import annotations

METRICS = ("mse", "mae", "pcc", "cs")
NAMES = {"mse": "MSE", "mae": "MAE", "pcc": "PCC", "cs": "CS", "ari": "ARI", "nmi": "NMI"}
LOWER_IS_BETTER = {"mse", "mae"}

GNNIMPUTE = "published: GNNImpute"

HEADLINE = {"mse": 2.8800, "mae": 0.7736, "pcc": 0.9478, "cs": 0.9547}
"""PBMC, 10 % masked, the worst number of heads."""
NO_ATTENTION = {"mse": 3.3047, "mae": 0.8022, "pcc": 0.9436, "cs": 0.9510}
"""The same with a graph convolution in place of attention."""
FOUR_SETS = {
    GNNIMPUTE: {"mse": 3.0130, "mae": 0.6781, "pcc": 0.9073, "cs": 0.9134},
    "published: DCA": {"mse": 5.1888, "mae": 0.9036, "pcc": 0.8347, "cs": 0.8402},
}
"""Figure 5, mean of PBMC, Campbell, Chen and Klein."""
DROPOUT = {
    GNNIMPUTE: {0.6: {"mse": 3.4783, "mae": 0.8141, "pcc": 0.9353, "cs": 0.9438}},
    "published: scVI": {
        0.1: {"mse": 6.9536, "mae": 1.3264, "pcc": 0.8767, "cs": 0.8979},
        0.6: {"mse": 17.0714, "mae": 1.8961, "pcc": 0.6332, "cs": 0.7017},
    },
}
"""Figure 7, PBMC, by masked share."""
LABELS = {0.1: {"mse": 3.4685, "mae": 0.8147, "pcc": 0.9351, "cs": 0.9436}}
"""Figure 8, PBMC, by labelled share."""
SPLATTER = {GNNIMPUTE: 21.2961, "published: DCA": 19.9282}
"""Table 2, two groups, MSE."""
CLUSTERS = {GNNIMPUTE: {"ari": 0.8199, "nmi": 0.8368}}
"""Figure 6, Klein, as the abstract has it. The text of the figure has the two numbers the other way round."""
ATTENTION = {"published: GCN": {"ari": 0.7998, "nmi": 0.8049}, "published: attention": {"ari": 0.8155, "nmi": 0.8204}}
"""Table 5, Klein: without attention and with it. Of how many heads, the text does not say."""
SPARSITY = {"Splatter": 0.47, "PBMC": 0.94, "Klein": 0.66}
"""Share of zeros."""
