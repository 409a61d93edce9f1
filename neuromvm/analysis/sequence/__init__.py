"""Odors in a sequence: which is told when, out of sequence, by place, and by lag."""
