"""What models generate: coherence, imputation, and spikes of units that were not seen."""
