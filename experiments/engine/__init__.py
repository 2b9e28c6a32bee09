"""What every study shares: numbers, models, runs and their rows."""
