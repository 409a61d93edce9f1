"""What a fitted model infers: posteriors, imputed and transferred activity, ablations and traversals."""
