"""Generic benchmarks: the models of this package on modalities that are not neural."""
