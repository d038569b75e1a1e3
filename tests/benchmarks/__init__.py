"""Speed, measured beside a bound in the same run, as ratios. Nothing here asserts a time."""
