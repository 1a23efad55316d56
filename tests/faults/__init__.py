"""What happens when processes die at the worst moments."""
