"""A season of cross-promotion between five brands, made up from a seed, whose right outcome the generator knows."""
