"""`rapport doctor`: look at everything around an installation, and name what is wrong and the mend."""
