"""The assets: thin, one file per group. Inputs come in as frames, a domain function computes, a frame goes out."""
