"""The live shells: Faust agents around the steps, and the transport that hands them whole batches."""
