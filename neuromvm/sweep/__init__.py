"""Many trainings: cells of a grid or of a random search, on one machine or many; each is a run folder that is resumed.

``grid`` says which cells there are, ``naming`` what they are called, ``cells`` does one, ``engines`` say where, ``runner``
joins them.
"""
