"""Export files as Singer streams, on the SDK."""
