"""What the harness needs of each framework."""
