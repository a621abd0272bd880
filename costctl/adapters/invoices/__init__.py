"""Invoices of providers, read from CSV files into lines of the domain."""
