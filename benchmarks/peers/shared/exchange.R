# What the R adapters share: counts come from a folder, estimates go to a folder.
# Called as `Rscript METHOD.R IN_FOLDER OUT_FOLDER SEED [--option value ...]`.

arguments <- commandArgs(trailingOnly = TRUE)
if (length(arguments) < 3) stop("usage: Rscript METHOD.R IN_FOLDER OUT_FOLDER SEED [--option value ...]")
in_folder <- arguments[1]
out_folder <- arguments[2]
seed <- as.integer(arguments[3])

option_value <- function(name, default) {
  words <- arguments[-(1:3)]
  at <- match(paste0("--", name), words)
  if (is.na(at)) return(default)
  value <- suppressWarnings(as.integer(words[at + 1]))
  if (is.na(value)) stop("--", name, " needs a whole number, found ", sQuote(words[at + 1], FALSE))
  value
}

# Exit code 69 tells the caller that the program is absent; the last line of stderr says how to get it.
require_packages <- function(script, packages) {
  absent <- packages[!vapply(packages, requireNamespace, logical(1), quietly = TRUE)]
  if (length(absent) == 0) return(invisible())
  install <- grep("^# install = ", readLines(script), value = TRUE)
  message("absent R packages: ", toString(absent), "\n", sub('^# install = "(.*)"$', "\\1", install))
  quit(status = 69)
}

read_counts <- function() {
  counts <- methods::as(Matrix::readMM(file.path(in_folder, "counts.mtx")), "CsparseMatrix")
  cells <- readLines(file.path(in_folder, "cells.txt"))
  genes <- readLines(file.path(in_folder, "genes.txt"))
  if (nrow(counts) != length(cells) || ncol(counts) != length(genes)) {
    stop("counts.mtx is ", nrow(counts), " x ", ncol(counts), ", but there are ", length(cells),
         " cells in cells.txt and ", length(genes), " genes in genes.txt")
  }
  dimnames(counts) <- list(make.unique(cells), make.unique(genes))
  counts
}

as_json <- function(value) {
  if (is.list(value)) {
    pairs <- paste0(encodeString(names(value), quote = '"'), ": ", vapply(value, as_json, ""))
    return(paste0("{", paste(pairs, collapse = ", "), "}"))
  }
  if (is.null(value)) return("null")
  if (is.logical(value)) return(tolower(value))
  if (is.numeric(value)) return(format(value, digits = 15))
  encodeString(value, quote = '"')
}

# A column-major matrix of genes x cells has the bytes of a row-major one of cells x genes.
write_estimate <- function(genes_by_cells, package, settings, note = NULL) {
  if (!all(is.finite(genes_by_cells))) stop(package, " returned values that are not finite")
  dir.create(out_folder, showWarnings = FALSE, recursive = TRUE)
  settings$R <- as.character(getRversion())
  method <- list(version = as.character(utils::packageVersion(package)), settings = settings)
  method$note <- note
  partial <- file.path(out_folder, c("mean.f32.partial", "method.json.partial"))
  output <- file(partial[1], "wb")
  writeBin(as.vector(genes_by_cells), output, size = 4, endian = "little")
  close(output)
  writeLines(as_json(method), partial[2])
  stopifnot(file.rename(partial, sub("\\.partial$", "", partial)))
}
