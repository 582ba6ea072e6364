"""Layer-wise relevance propagation: rules, composites, propagation on the replica, and an account of every unit."""
