"""A second model beside the main one, which guesses what its sequences draw next."""
