"""The table of a sweep, and settings chosen without test trials."""
