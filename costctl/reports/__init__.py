"""What the ledger adds up to, and the forms in which people and programs get it."""
