# /// script
# dependencies = ["SAVER"]
# [tool.gnnimpute]
# install = "apt-get install r-base-dev r-cran-glmnet r-cran-doparallel r-cran-foreach r-cran-iterators r-cran-matrix && curl -LO https://github.com/mohuangx/SAVER/archive/f28d719c1b77ce2ad03e4c066afd876eeade760f.tar.gz && mkdir -p benchmarks/peers/.environments/R && R CMD INSTALL --library=benchmarks/peers/.environments/R f28d719c1b77ce2ad03e4c066afd876eeade760f.tar.gz"
# [tool.gnnimpute.methods]
# "SAVER" = []
# "SAVER, 2000 genes predicted" = ["--npred", "2000"]
# ///
#
# Huang et al., Nature Methods 2018. A Poisson LASSO of each gene on the others gives a prior, its gamma posterior the
# estimate. With `--npred N` only the N genes of highest mean are predicted from others, and the rest are shrunk to
# their own mean: the authors' option for when predicting every gene takes too long.

script <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
source(file.path(dirname(script), "shared", "exchange.R"))
require_packages(script, c("SAVER", "doParallel", "Matrix"))

threads <- 2L
npred <- option_value("npred", NULL)
counts <- read_counts()
if (!is.null(npred) && npred >= ncol(counts)) npred <- NULL
totals <- Matrix::rowSums(counts)
# SAVER drops cells without counts: their expectation is zero.
kept <- totals > 0

# SAVER's own workers would leave this process' tree, and so its memory and its time limit; forks stay in it.
doParallel::registerDoParallel(cores = threads)
# This kind of generator gives every fork its own, repeatable stream.
set.seed(seed, kind = "L'Ecuyer-CMRG")
normalised <- SAVER::saver(as.matrix(Matrix::t(counts[kept, ])), ncores = threads, npred = npred, estimates.only = TRUE)

size_factor <- totals[kept] / mean(totals[kept])
estimate <- matrix(0, ncol(counts), nrow(counts))
estimate[, kept] <- sweep(normalised, 2, size_factor, "*")
settings <- list(do.fast = TRUE, npred = npred, size.factor = "mean library size", ncores = threads, seed = seed)
write_estimate(estimate, "SAVER", settings)
