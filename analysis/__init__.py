"""The project's own study: one module for each published result, all over public names of neuromvm."""
