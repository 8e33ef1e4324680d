"""crosscredit: referral detection that both sides can trust."""
