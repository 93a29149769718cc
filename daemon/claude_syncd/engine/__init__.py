"""Carries out plans: polling, pulling, pushing, and the loop that drives them."""
