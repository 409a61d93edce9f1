"""What of an animal a decoder sees, and the decoders."""
