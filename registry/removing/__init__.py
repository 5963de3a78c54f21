"""Taking artifacts and their files away."""
