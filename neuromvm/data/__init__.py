"""From files to labelled samples and splits."""
