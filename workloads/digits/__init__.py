"""A small convolutional network on 8 x 8 pixel digits."""
