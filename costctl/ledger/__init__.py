"""The ledger: every billed second and what it was. The only package that speaks SQL.

Import `costctl.ledger.store.Ledger` where it is used: SQLAlchemy is heavy.
"""
