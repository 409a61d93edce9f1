"""When in a trial, and at which phase of theta, activity tells a label."""
