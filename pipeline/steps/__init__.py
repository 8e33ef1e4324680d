"""The three steps, IDENTITY, CREDIT and EARNINGS: facts to outcomes, over a state interface; no Faust, no Kafka."""
