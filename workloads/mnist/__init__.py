"""A perceptron on MNIST."""
