"""What the agent remembers: crosswalk, images, positions, journal."""
