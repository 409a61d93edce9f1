"""Do animals share a code? Conditions without a label in one animal, predicted from the other animals."""
