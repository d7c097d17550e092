"""The one door for raw data: what is wrong with rows and columns is all found, and said at once."""
