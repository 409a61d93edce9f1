"""Times of neuromvm beside those of other ways to do the same, each pair measured alternately: ``python -m benchmarks``.

Nothing here is imported by neuromvm.
"""
