"""Do animals, or groups of animals, represent the conditions alike?"""
