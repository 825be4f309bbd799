"""SOAP in JAX: the submission and its optimizer."""
