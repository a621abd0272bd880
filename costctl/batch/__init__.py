"""Batches: files of requests, read and checked as a whole, and their results, kept so that nothing is lost."""
