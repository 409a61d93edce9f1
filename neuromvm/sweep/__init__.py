"""Many trainings: cells of a grid or of a random search, on one machine or many; each is a run folder that is resumed.

``grid`` says which cells there are, ``naming`` what they are called, ``tasks`` which of them come together, ``stacks``
and ``together`` train those at once, ``cells`` does each, ``engines`` say where, ``runner`` joins them.
"""
