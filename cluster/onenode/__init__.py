"""A real Kubernetes of one node, inside a network namespace of one Linux machine."""
