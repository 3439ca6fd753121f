# /// script
# dependencies = ["scImpute", "penalized"]
# [tool.gnnimpute]
# install = "apt-get install r-base-dev r-cran-kernlab r-cran-rsvd r-cran-doparallel r-cran-foreach r-cran-survival r-cran-rcpparmadillo r-cran-matrix && curl -L https://github.com/cran/penalized/archive/2bd3dc37a91e2dc9d5bb9d93a395c508737de460.tar.gz -o penalized.tar.gz && curl -L https://github.com/Vivianstats/scImpute/archive/78556ee2dc0a9c830223b9e3e9f99387cd3e09a4.tar.gz -o scImpute.tar.gz && mkdir -p benchmarks/peers/.environments/R && export R_LIBS=$PWD/benchmarks/peers/.environments/R && R CMD INSTALL --library=$R_LIBS penalized.tar.gz && R CMD INSTALL --library=$R_LIBS scImpute.tar.gz"
# [tool.gnnimpute.methods]
# "scImpute" = []
# ///
#
# Li & Li, Nature Communications 2018. Values whose dropout probability in a gamma-normal mixture exceeds `drop_thre`
# are replaced by a non-negative regression on similar cells. `--kcluster` is the number of cell types to expect: its
# authors give no default and say that the result depends little on it.

script <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
source(file.path(dirname(script), "shared", "exchange.R"))
require_packages(script, c("scImpute", "penalized", "Matrix"))

threads <- 2L
kcluster <- option_value("kcluster", 5L)
counts <- read_counts()

# scImpute reads and writes files; R removes its temporary folder on exit.
folder <- paste0(tempfile("scimpute"), "/")
input <- tempfile(fileext = ".rds")
saveRDS(as.matrix(Matrix::t(counts)), input)
# Its workers would leave this process' tree, and so its memory and its time limit; forks stay in it.
parallel:::setDefaultClusterOptions(type = "FORK")
outliers <- scImpute::scimpute(input, infile = "rds", outfile = "rds", out_dir = folder, labeled = FALSE,
                               drop_thre = 0.5, Kcluster = kcluster, ncores = threads)
estimate <- readRDS(paste0(folder, "scimpute_count.rds"))

settings <- list(Kcluster = kcluster, drop_thre = 0.5, labeled = FALSE, type = "count", ncores = threads)
note <- paste0("left ", length(outliers), " of ", nrow(counts), " cells as they were (outliers); values are rounded ",
               "to 0.01 by scImpute; it sets its own random seeds, so --seed changes nothing")
write_estimate(estimate, "scImpute", settings, note)
