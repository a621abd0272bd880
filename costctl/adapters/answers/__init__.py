"""Stores of cached answers (port AnswerStore)."""
