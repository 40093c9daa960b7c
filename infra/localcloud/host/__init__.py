"""The local stand-in for Function Compute 3.0: reads `s.yaml`, fires its triggers, runs its functions."""
