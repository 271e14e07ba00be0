"""The commands that measure the proof and write the page of its figures."""
