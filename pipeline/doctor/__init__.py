"""`crosscredit doctor`: is everything that the live pipeline needs there, and as it must be?"""
