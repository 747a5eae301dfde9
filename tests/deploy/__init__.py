"""The image and the compose file, as far as they can be judged without a container engine."""
