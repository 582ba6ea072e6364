"""Studies: questions answered over a data set."""
