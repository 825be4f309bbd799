"""A graph network that predicts properties of molecules: OGB's ogbg-molpcba."""
