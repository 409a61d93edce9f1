"""Continuous labels, such as position, time or head direction, predicted within and across animals."""
