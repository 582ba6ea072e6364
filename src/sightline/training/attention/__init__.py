"""Training of attention that explains a frozen classifier: L-CAM, TAME, T-TAME, P-TAME, and the learned constant."""
