# /// script
# dependencies = ["ALRA"]
# [tool.gnnimpute]
# install = "apt-get install r-base-dev r-cran-rsvd r-cran-matrix && curl -LO https://github.com/KlugerLab/ALRA/archive/f34d46570b1221179047d9f99c235ed880cc3bae.tar.gz && mkdir -p benchmarks/peers/.environments/R && R CMD INSTALL --library=benchmarks/peers/.environments/R f34d46570b1221179047d9f99c235ed880cc3bae.tar.gz"
# [tool.gnnimpute.methods]
# "ALRA" = []
# ///
#
# Linderman et al., Nature Communications 2022. Low-rank approximation of log-normalised counts, thresholded gene by
# gene, so that zeros which are likely biological stay zeros.

script <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
source(file.path(dirname(script), "shared", "exchange.R"))
require_packages(script, c("ALRA", "Matrix"))

counts <- read_counts()
totals <- Matrix::rowSums(counts)
# ALRA drops cells without counts: their expectation is zero.
kept <- totals > 0
normalised <- ALRA::normalize_data(as.matrix(counts[kept, ]))

# ALRA's own 100 singular values, of which the last 20 are taken for noise, need more than 100 cells and genes.
singular_values <- min(100L, dim(normalised) - 1L)
noise_start <- as.integer(min(0.8 * singular_values, singular_values - 5L))
set.seed(seed)
chosen <- suppressWarnings(ALRA::choose_k(normalised, K = singular_values, noise_start = noise_start)$k)
# Below rank 2 `alra` stops: diag() of one number is an identity matrix.
rank <- as.integer(max(2, chosen))
completed <- ALRA::alra(normalised, k = rank)$A_norm_rank_k_cor_sc

estimate <- matrix(0, ncol(counts), nrow(counts))
estimate[, kept] <- sweep(expm1(t(completed)), 2, totals[kept] / 1e4, "*")
settings <- list(k = rank, K = singular_values, noise_start = noise_start, thresh = 6L, q = 10L, quantile.prob = 0.001,
                 target_sum = 10000L, seed = seed)
note <- if (rank != chosen) "fewer than two singular values stood out from the noise: rank 2 was used"
write_estimate(estimate, "ALRA", settings, note)
